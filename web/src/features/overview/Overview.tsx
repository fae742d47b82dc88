import { Alert, Badge, Code, Group, SimpleGrid, Stack, Text } from '@mantine/core';
import { IconAlertTriangle, IconCircleCheck } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import type { Schemas } from '@/api/client';
import { overview } from '@/api/queries';
import { Disclaimer } from '@/shared/Courtesy';
import { count, many } from '@/shared/format';
import { PageLink } from '@/shared/links';
import { Page } from '@/shared/Page';
import { Lines, Loaded, Panel } from '@/shared/Panel';
import { RUN } from '@/shared/status';
import { Tile } from '@/shared/Tile';
import { When } from '@/shared/When';
import { Feed } from './Feed';
import { FirstSteps } from './FirstSteps';
import { Freshness } from './Freshness';
import { RunningNow } from './RunningNow';

type Seen = Schemas['Overview'];

export function Overview() {
  const asked = useQuery(overview);
  return (
    <Loaded of={asked} skeleton={<Lines rows={9} height={34} />}>
      {(seen) => (
        <Page
          title={headline(seen)}
          below={
            <>
              As of <When at={seen.as_of} as="both" />
            </>
          }
        >
          {seen.properties === 0 && <FirstSteps />}
          <Problems of={seen.problems} />
          <RunningNow runs={seen.running} />
          <Tiles of={seen} />
          <SimpleGrid cols={{ base: 1, md: 2 }} spacing="md">
            <Freshness of={seen} />
            <Review of={seen} />
          </SimpleGrid>
          <Feed />
          <Disclaimer />
        </Page>
      )}
    </Loaded>
  );
}

/** One sentence that says how things stand. */
export function headline(seen: Seen): string {
  const all = seen.active_properties;
  if (all === 0) return seen.properties === 0 ? 'Nothing to keep in step yet' : 'No CRM property is active';
  const linked = all - (seen.active_by_status.not_linked ?? 0);
  const fresh = linked - (seen.active_by_status.stale ?? 0) - (seen.active_by_status.gone ?? 0);
  const review = reviews(seen).reduce((sum, one) => sum + one.count, 0);
  const first =
    linked === 0
      ? `None of ${many(all, 'active property', 'active properties')} is linked`
      : fresh === linked
        ? `All ${many(linked, 'linked property', 'linked properties')} fresh`
        : `${count(fresh)} of ${many(linked, 'linked property', 'linked properties')} fresh`;
  return review === 0 ? first : `${first}; ${count(review)} ${review === 1 ? 'needs' : 'need'} review`;
}

interface Review {
  label: string;
  count: number;
  why: string;
  /** The filter of the properties' page that shows them. */
  show?: string;
  /** The command that shows them. */
  command?: string;
}

export function reviews(seen: Seen): Review[] {
  return [
    {
      label: 'Conflicts',
      count: seen.active_by_status.conflict ?? 0,
      why: 'the MLS has changed under an override',
      show: 'conflict',
    },
    {
      label: 'Over or gone',
      count: seen.proposals,
      why: 'active in the CRM, but their listing is not',
      command: 'mls-crm-sync proposals list',
    },
    {
      label: 'Listings held back',
      count: seen.held_listings,
      why: 'many would vanish at once',
      command: 'mls-crm-sync absences holds',
    },
    {
      label: 'Records that could not be read',
      count: seen.quarantined,
      why: 'they wait with their reason',
      command: 'mls-crm-sync quarantine list',
    },
  ].filter((one) => one.count > 0);
}

function Review({ of: seen }: { of: Seen }) {
  const found = reviews(seen);
  return (
    <Panel title="Needs review">
      {found.length === 0 ? (
        <Group gap="xs">
          <IconCircleCheck size={18} color="var(--ok)" aria-hidden />
          <Text size="sm">Nothing waits for a person.</Text>
        </Group>
      ) : (
        <ul className="plain-list">
          {found.map((one) => (
            <li key={one.label} className="row-line" style={{ paddingBlock: 8 }}>
              <Group justify="space-between" wrap="nowrap">
                <div>
                  <Text size="sm" fw={550}>
                    {one.show ? (
                      <PageLink to="/properties" search={{ show: one.show }} inherit>
                        {one.label}
                      </PageLink>
                    ) : (
                      one.label
                    )}
                  </Text>
                  <Text size="xs" c="dimmed">
                    {one.why}
                    {one.command && (
                      <>
                        {': '}
                        <Code>{one.command}</Code>
                      </>
                    )}
                  </Text>
                </div>
                <Badge variant="light" color="orange" size="lg" className="num">
                  {count(one.count)}
                </Badge>
              </Group>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

function Tiles({ of: seen }: { of: Seen }) {
  const changed = Object.values(seen.changes_in_a_day).reduce((sum, one) => sum + one, 0);
  const kinds = Object.entries(seen.changes_in_a_day)
    .map(([type, number]) => `${count(number)} ${type.replaceAll('_', ' ')}`)
    .join(' · ');
  return (
    <SimpleGrid cols={{ base: 2, md: 4 }} spacing="sm">
      <Tile
        label="Last run"
        value={seen.last_run ? <When at={seen.last_run.finished_at} /> : 'None yet'}
        note={
          seen.last_run && (
            <PageLink to="/runs/$id" params={{ id: String(seen.last_run.run_id) }} size="xs">
              Run #{seen.last_run.run_id}: {RUN[seen.last_run.status]?.word}
            </PageLink>
          )
        }
      />
      <Tile
        label="Next run"
        value={seen.next_run_at ? <When at={seen.next_run_at} /> : 'None due'}
        note={seen.next_run_at ? <When at={seen.next_run_at} as="full" /> : 'no schedule is on'}
      />
      <Tile label="Listings changed, 24 h" value={count(changed)} note={kinds || 'nothing moved'} />
      <Tile
        label="CRM records updated, 24 h"
        value={count(seen.crm_updates_in_a_day)}
        note={`${many(seen.linked_properties, 'property', 'properties')} linked of ${count(seen.properties)}`}
      />
    </SimpleGrid>
  );
}

function Problems({ of: found }: { of: Schemas['Attention'][] }) {
  if (found.length === 0) return null;
  return (
    <Stack gap="xs">
      {found.map((one) => (
        <Alert
          key={`${one.code}-${one.run_id}-${one.source}`}
          color={one.run_id === null ? 'red' : 'orange'}
          variant="light"
          icon={<IconAlertTriangle size={18} aria-hidden />}
          title={one.message}
        >
          {one.hint && (
            <Text size="sm" className="sentence">
              {one.hint}
            </Text>
          )}
          {one.examples.length > 0 && (
            <Text size="sm" c="dimmed">
              {many(one.count, 'location')}: {one.examples.join(', ')}
            </Text>
          )}
          <Group mt={6}>
            {one.run_id !== null && (
              <PageLink to="/runs/$id" params={{ id: String(one.run_id) }} search={{ tab: 'errors' }} size="sm">
                Look at run #{one.run_id}
              </PageLink>
            )}
            {one.source !== null && (
              <PageLink to="/settings" search={{ tab: 'sources' }} size="sm">
                Look at the source
              </PageLink>
            )}
            {one.code === 'schedule_cannot_run' && (
              <PageLink to="/rescraping" size="sm">
                Look at the schedule
              </PageLink>
            )}
          </Group>
        </Alert>
      ))}
    </Stack>
  );
}
