import { Box, Group, Table, Text } from '@mantine/core';
import { useInfiniteQuery } from '@tanstack/react-query';
import type { Schemas } from '@/api/client';
import { isOpen } from '@/api/live';
import { runLocations } from '@/api/queries';
import { count, duration, words } from '@/shared/format';
import { PageLink } from '@/shared/links';
import { More } from '@/shared/More';
import { Loaded } from '@/shared/Panel';
import { RUN, Status } from '@/shared/status';

type Place = Schemas['RunLocation'];

/** How many stand under a row; the page of the run has them all. */
const FEW = 8;

function number(place: Place, name: string): string {
  const value = place.counts[name];
  return value === undefined ? '' : count(Number(value));
}

/** What came of each location of a run, and how that is known. */
export function Locations({ run, few = false }: { run: Schemas['Run']; few?: boolean }) {
  const asked = useInfiniteQuery(runLocations(run.run_id, isOpen(run)));
  return (
    <Loaded of={asked}>
      {(data) => {
        const all = data.pages.flatMap((page) => page.items);
        const shown = few ? [...all].sort(worstFirst).slice(0, FEW) : all;
        if (all.length === 0) {
          return (
            <Text size="sm" c="dimmed">
              It has no location.
            </Text>
          );
        }
        return (
          <>
            <Wide places={shown} />
            <Narrow places={shown} />
            {few && all.length > FEW && (
              <PageLink to="/runs/$id" params={{ id: String(run.run_id) }} size="sm" mt="xs">
                {count(run.locations - FEW)} more
              </PageLink>
            )}
            {!few && <More of={asked} />}
          </>
        );
      }}
    </Loaded>
  );
}

const BAD = ['failed', 'partial', 'running', 'cancelled', 'queued', 'succeeded'];

function worstFirst(a: Place, b: Place): number {
  return BAD.indexOf(a.status) - BAD.indexOf(b.status);
}

function Why({ of: place }: { of: Place }) {
  if (place.error) {
    return (
      <Text size="xs" c="dimmed" className="wrap">
        {place.error.message}
        {place.error.hint ? ` ${place.error.hint}` : ''}
      </Text>
    );
  }
  return place.outcome ? (
    <Text size="xs" c="dimmed" className="wrap">
      {words(place.outcome)}
      {place.evidence ? `: ${place.evidence}` : ''}
    </Text>
  ) : null;
}

function name(place: Place): string {
  return place.location === '*' ? 'the whole source' : place.location;
}

function Wide({ places }: { places: Place[] }) {
  return (
    <Box visibleFrom="sm">
      <Table fz="sm" verticalSpacing={6} className="num" layout="auto">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Location</Table.Th>
            <Table.Th>Result</Table.Th>
            <Table.Th ta="right">Time</Table.Th>
            <Table.Th ta="right">Read</Table.Th>
            <Table.Th ta="right">Changed</Table.Th>
            <Table.Th ta="right">CRM updated</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {places.map((place) => (
            <Table.Tr key={place.location_id}>
              <Table.Td>
                {name(place)}
                <Text size="xs" c="dimmed">
                  {place.source}
                </Text>
              </Table.Td>
              <Table.Td>
                <Status of={place.status} as={RUN} />
                <Why of={place} />
              </Table.Td>
              <Table.Td ta="right">{duration(place.duration_ms)}</Table.Td>
              <Table.Td ta="right">{number(place, 'read')}</Table.Td>
              <Table.Td ta="right">{number(place, 'changed')}</Table.Td>
              <Table.Td ta="right">{number(place, 'crm_updated')}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Box>
  );
}

function Narrow({ places }: { places: Place[] }) {
  return (
    <Box component="ul" hiddenFrom="sm" className="plain-list">
      {places.map((place) => (
        <li key={place.location_id} className="row-line" style={{ paddingBlock: 8 }}>
          <Group justify="space-between" wrap="nowrap" align="flex-start">
            <div style={{ minWidth: 0 }}>
              <Text size="sm" fw={550}>
                {name(place)}
              </Text>
              <Text size="xs" c="dimmed" className="num">
                {duration(place.duration_ms)} · {number(place, 'read') || '0'} read · {number(place, 'changed') || '0'}{' '}
                changed
              </Text>
              <Why of={place} />
            </div>
            <Status of={place.status} as={RUN} />
          </Group>
        </li>
      ))}
    </Box>
  );
}
