import { Box, Button, Code, Group, Progress, SimpleGrid, Table, Tabs, Text, TextInput } from '@mantine/core';
import { IconDownload, IconPlayerStop, IconRotateClockwise, IconSearch } from '@tabler/icons-react';
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { useState } from 'react';
import type { Schemas } from '@/api/client';
import { isOpen } from '@/api/live';
import { runChanges, runErrors, runLog, run as runQuery } from '@/api/queries';
import { percent } from '@/features/overview/RunningNow';
import { who } from '@/features/rescraping/ActivePropertiesRescraping';
import { changed, updated, when } from '@/features/rescraping/RunStrip';
import { Act } from '@/shared/Act';
import { Disclaimer } from '@/shared/Courtesy';
import { shownAs } from '@/shared/change';
import { clock, count, duration, instant, many, words } from '@/shared/format';
import { PageLink } from '@/shared/links';
import { More } from '@/shared/More';
import { Page } from '@/shared/Page';
import { Lines, Loaded, Panel } from '@/shared/Panel';
import { useZone } from '@/shared/preferences';
import { RUN, Status } from '@/shared/status';
import { Tile } from '@/shared/Tile';
import { When } from '@/shared/When';
import { canRetry, useCancel, useRetryFailed } from './doing';
import { Locations } from './Locations';
import { reasonOf, WhatWentWrong } from './RunDetail';
import { wasMade } from './RunTable';

const here = getRouteApi('/runs/$id');
type Run = Schemas['Run'];
type Tab = 'locations' | 'changes' | 'errors' | 'log' | 'configuration';

export function RunPage() {
  const { id } = here.useParams();
  const asked = useQuery(runQuery(Number(id)));
  return (
    <Loaded of={asked} skeleton={<Lines rows={9} height={34} />}>
      {(run) => <Shown run={run} />}
    </Loaded>
  );
}

function Shown({ run }: { run: Run }) {
  const { tab } = here.useSearch();
  const go = here.useNavigate();
  const cancel = useCancel();
  const retry = useRetryFailed((id) => void go({ to: '/runs/$id', params: { id: String(id) } }));
  const made = wasMade(run);
  return (
    <Page
      title={`Run #${run.run_id}`}
      badge={<Status of={run.status} as={RUN} />}
      above={
        <Text size="xs" c="dimmed">
          <PageLink to="/runs" size="xs">
            Runs
          </PageLink>{' '}
          / {run.run_id}
        </Text>
      }
      below={<Origin run={run} />}
      actions={
        <>
          {isOpen(run) && (
            <Act
              needs="run"
              variant="default"
              leftSection={<IconPlayerStop size={16} />}
              loading={cancel.isPending}
              onClick={() => cancel.mutate(run.run_id)}
            >
              Stop after this page
            </Act>
          )}
          {canRetry(run) && (
            <Act
              needs="run"
              leftSection={<IconRotateClockwise size={16} />}
              loading={retry.isPending}
              onClick={() => retry.mutate(run.run_id)}
            >
              Retry {many(run.failed_locations, 'failed location')}
            </Act>
          )}
        </>
      }
    >
      {!made && <Panel>{reasonOf(run)}</Panel>}
      {isOpen(run) && <Progress value={percent(run)} size={10} animated aria-label="Locations done, percent" />}
      {made && (
        <SimpleGrid cols={{ base: 2, md: 4 }} spacing="sm">
          <Tile
            label={isOpen(run) ? 'Running for' : 'Took'}
            value={duration(run.duration_ms)}
            note={run.started_at ? <When at={run.started_at} as="full" /> : 'waits for a worker'}
          />
          <Tile
            label="Locations"
            value={`${run.finished_locations}/${run.locations}`}
            note={run.failed_locations ? `${run.failed_locations} failed` : 'none failed'}
          />
          <Tile
            label="Listings changed"
            value={count(changed(run))}
            note={`${count(Number(run.counts.read ?? 0))} read`}
          />
          <Tile label="CRM records updated" value={count(updated(run))} note={quarantined(run)} />
        </SimpleGrid>
      )}
      {made && (
        <Panel flush>
          <Tabs
            value={tab ?? 'locations'}
            onChange={(next) => void go({ search: { tab: (next ?? undefined) as Tab | undefined }, replace: true })}
            keepMounted={false}
          >
            <Tabs.List px="xs">
              <Tabs.Tab value="locations">Locations</Tabs.Tab>
              <Tabs.Tab value="changes">Changes</Tabs.Tab>
              <Tabs.Tab value="errors">Errors{run.failed_locations > 0 ? ` (${run.failed_locations})` : ''}</Tabs.Tab>
              <Tabs.Tab value="log">Log</Tabs.Tab>
              <Tabs.Tab value="configuration">Configuration</Tabs.Tab>
            </Tabs.List>
            <Box p="md">
              <Tabs.Panel value="locations">
                <Locations run={run} />
              </Tabs.Panel>
              <Tabs.Panel value="changes">
                <Changes run={run} />
              </Tabs.Panel>
              <Tabs.Panel value="errors">
                <Errors run={run} />
              </Tabs.Panel>
              <Tabs.Panel value="log">
                <Log run={run} />
              </Tabs.Panel>
              <Tabs.Panel value="configuration">
                <Configuration run={run} />
              </Tabs.Panel>
            </Box>
          </Tabs>
        </Panel>
      )}
      <Disclaimer />
    </Page>
  );
}

function quarantined(run: Run): string {
  const number = Number(run.counts.quarantined ?? 0);
  return number === 0 ? 'every record could be read' : `${many(number, 'record')} could not be read`;
}

function Origin({ run }: { run: Run }) {
  const by = run.actor === null ? '' : ` by ${who(run.actor)}`;
  return (
    <>
      {run.trigger === 'scheduled' ? 'Scheduled for ' : `${words(run.trigger)}${by}, `}
      <When at={when(run)} as="both" />
      {run.attempt_of !== null && (
        <>
          {' '}
          · reads again what failed in{' '}
          <PageLink to="/runs/$id" params={{ id: String(run.attempt_of) }} inherit>
            run #{run.attempt_of}
          </PageLink>
        </>
      )}
    </>
  );
}

function Changes({ run }: { run: Run }) {
  const asked = useInfiniteQuery(runChanges(run.run_id, isOpen(run)));
  const zone = useZone();
  return (
    <Loaded of={asked}>
      {(data) => {
        const all = data.pages.flatMap((page) => page.items);
        if (all.length === 0) {
          return (
            <Text size="sm" c="dimmed">
              It found nothing changed.
            </Text>
          );
        }
        return (
          <>
            <ul className="plain-list">
              {all.map((one) => (
                <li key={one.change_id} className="row-line" style={{ paddingBlock: 8 }}>
                  <Text size="sm" className="wrap" component="div">
                    <b>{one.address ?? one.listing_key}</b>{' '}
                    {one.field_name === null ? (
                      'is new'
                    ) : (
                      <>
                        <Text span inherit c="dimmed">
                          {one.label}
                        </Text>{' '}
                        <span className="num">{shownAs(one, one.previous_value, zone)}</span> →{' '}
                        <b className="num">{shownAs(one, one.new_value, zone)}</b>
                      </>
                    )}
                  </Text>
                  <Text size="xs" c="dimmed" component="div">
                    {one.type === 'renormalised' && 'read anew from what was stored, no change of the market · '}
                    {Object.entries(one.crm_properties).length === 0
                      ? 'no CRM property follows it'
                      : Object.entries(one.crm_properties).map(([id, what], place) => (
                          <span key={id}>
                            {place > 0 && ', '}
                            <PageLink to="/properties/$id" params={{ id }} size="xs">
                              {id}
                            </PageLink>{' '}
                            {what === 'applied' ? 'followed' : 'held by its override'}
                          </span>
                        ))}
                  </Text>
                </li>
              ))}
            </ul>
            <More of={asked} />
          </>
        );
      }}
    </Loaded>
  );
}

function Errors({ run }: { run: Run }) {
  const asked = useQuery(runErrors(run.run_id, isOpen(run)));
  return (
    <Loaded of={asked}>
      {(found) =>
        found.items.length === 0 && run.error_code === null ? (
          <Text size="sm" c="dimmed">
            Nothing went wrong.
          </Text>
        ) : (
          <WhatWentWrong run={run} />
        )
      }
    </Loaded>
  );
}

function Log({ run }: { run: Run }) {
  const asked = useQuery(runLog(run.run_id, isOpen(run)));
  const [sought, setSought] = useState('');
  const zone = useZone();
  return (
    <Loaded of={asked}>
      {(log) => {
        const lines = log.items.filter((line) =>
          `${line.message} ${line.location ?? ''}`.toLowerCase().includes(sought.toLowerCase()),
        );
        return (
          <>
            <Group justify="space-between" mb="sm" gap="xs">
              <TextInput
                size="xs"
                data-search
                placeholder="Search the log"
                aria-label="Search the log"
                leftSection={<IconSearch size={14} aria-hidden />}
                value={sought}
                onChange={(event) => setSought(event.currentTarget.value)}
              />
              <Button
                size="compact-sm"
                variant="default"
                leftSection={<IconDownload size={14} />}
                onClick={() => download(`run-${run.run_id}.log`, log.items)}
              >
                Download
              </Button>
            </Group>
            <Box component="ol" className="plain-list" fz="sm" aria-label="Log">
              {lines.map((line, place) => (
                // biome-ignore lint/suspicious/noArrayIndexKey: a log only grows at its end
                <li key={place} style={{ display: 'flex', gap: 12, paddingBlock: 3 }}>
                  <Text
                    span
                    size="xs"
                    c="dimmed"
                    className="num"
                    title={instant(line.at, zone)}
                    style={{ whiteSpace: 'nowrap' }}
                  >
                    {clock(line.at, zone)}
                  </Text>
                  <Text
                    span
                    size="sm"
                    className="wrap"
                    c={line.level === 'error' ? 'var(--mantine-color-error)' : undefined}
                  >
                    {line.level !== 'info' && <b>{line.level}: </b>}
                    {line.message}
                  </Text>
                </li>
              ))}
            </Box>
            {lines.length === 0 && (
              <Text size="sm" c="dimmed">
                No line has that.
              </Text>
            )}
          </>
        );
      }}
    </Loaded>
  );
}

function download(name: string, lines: Schemas['LogLine'][]): void {
  const text = lines.map((line) => `${line.at} ${line.level} ${line.message}`).join('\n');
  const url = URL.createObjectURL(new Blob([`${text}\n`], { type: 'text/plain' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  URL.revokeObjectURL(url);
}

function Configuration({ run }: { run: Run }) {
  const entries = Object.entries(run.config ?? {});
  const left = Object.entries(run.left_out ?? {});
  return (
    <>
      {entries.length === 0 ? (
        <Text size="sm" c="dimmed">
          It was not made by a schedule and has no settings of its own.
        </Text>
      ) : (
        <Table fz="sm" variant="vertical" layout="fixed" aria-label="Configuration used">
          <Table.Tbody>
            {entries.map(([name, value]) => (
              <Table.Tr key={name}>
                <Table.Th w={200}>{name.replaceAll('_', ' ')}</Table.Th>
                <Table.Td className="wrap">
                  <Code>{typeof value === 'string' ? value : JSON.stringify(value)}</Code>
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
      {left.map(([reason, what]) => (
        <Text key={reason} size="sm" mt="sm">
          {many(what.properties, 'property', 'properties')} left out ({reason.replaceAll('_', ' ')}):{' '}
          {what.examples.join(', ')}
        </Text>
      ))}
    </>
  );
}
