import {
  Alert,
  Button,
  Code,
  Grid,
  Group,
  List,
  NumberInput,
  SegmentedControl,
  Select,
  SimpleGrid,
  Stack,
  Table,
  TagsInput,
  Text,
  TextInput,
} from '@mantine/core';
import { useForm } from '@mantine/form';
import { useDebouncedValue } from '@mantine/hooks';
import { IconAlertTriangle } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useEffect, useMemo, useRef, useState } from 'react';
import { api, got, type Schemas } from '@/api/client';
import type { Problem } from '@/api/problem';
import { preview } from '@/api/queries';
import { Act } from '@/shared/Act';
import { say, useDo } from '@/shared/doing';
import { duration, many, zoneName } from '@/shared/format';
import { Loaded, Panel } from '@/shared/Panel';
import { useZone } from '@/shared/preferences';
import { When } from '@/shared/When';
import { isPreset, PRESETS, sentence } from './cron';

type Job = Schemas['Schedule'];

/** What is edited, as the form has it. */
export interface Draft {
  cron_expression: string;
  timezone: string;
  limit: number | string;
  request_delay: number | string;
  priority: string;
  city: string[];
  postal_code: string[];
  tags: string[];
  assigned_agent: string[];
}

const FILTERS = ['city', 'postal_code', 'tags', 'assigned_agent'] as const;
const LABELS: Record<keyof Draft, string> = {
  cron_expression: 'How often',
  timezone: 'Zone',
  limit: 'Listings per location',
  request_delay: 'Delay',
  priority: 'Priority',
  city: 'Cities',
  postal_code: 'ZIPs',
  tags: 'Tags',
  assigned_agent: 'Agents',
};

export function draftOf(job: Job): Draft {
  const of = (name: string) => ((job.filters[name] as string[] | undefined) ?? []).map(String);
  return {
    cron_expression: job.cron_expression,
    timezone: job.timezone,
    limit: job.limit,
    request_delay: job.request_delay,
    priority: job.priority,
    city: of('city'),
    postal_code: of('postal_code'),
    tags: of('tags'),
    assigned_agent: of('assigned_agent'),
  };
}

type Body = Schemas['ActivePropertiesChanges'];

/** What has to be sent for a draft; filters that are not edited here stay as they are. */
export function bodyOf(draft: Draft, before: Draft, job: Job): Partial<Body> {
  const body: Partial<Body> = {};
  if (draft.cron_expression.trim() !== before.cron_expression) body.cron_expression = draft.cron_expression.trim();
  if (draft.timezone !== before.timezone) body.timezone = draft.timezone;
  if (Number(draft.limit) !== Number(before.limit)) body.limit = Number(draft.limit);
  if (Number(draft.request_delay) !== Number(before.request_delay)) body.request_delay = Number(draft.request_delay);
  if (draft.priority !== before.priority) body.priority = draft.priority;
  if (FILTERS.some((name) => draft[name].join('\n') !== before[name].join('\n'))) {
    const kept = Object.fromEntries(Object.entries(job.filters).filter(([name]) => !FILTERS.includes(name as never)));
    body.filters = {
      ...kept,
      ...Object.fromEntries(FILTERS.filter((name) => draft[name].length > 0).map((name) => [name, draft[name]])),
    };
  }
  return body;
}

export function shownValue(name: keyof Draft, draft: Draft): string {
  const value = draft[name];
  if (Array.isArray(value)) return value.length === 0 ? 'any' : value.join(', ');
  if (name === 'cron_expression') return sentence(String(value)) ?? String(value);
  if (name === 'request_delay') return `${value} s`;
  return String(value);
}

function changes(before: Draft, draft: Draft): (keyof Draft)[] {
  return (Object.keys(LABELS) as (keyof Draft)[]).filter((name) => String(before[name]) !== String(draft[name]));
}

const ZONES = Intl.supportedValuesOf('timeZone');

export function ScheduleEditor({ job }: { job: Job }) {
  const before = useMemo(() => draftOf(job), [job]);
  const form = useForm<Draft>({ initialValues: before });
  const edited = useRef(job.version);
  const [mode, setMode] = useState(isPreset(job.cron_expression) ? 'simple' : 'cron');
  const [clash, setClash] = useState(false);
  const dirty = changes(before, form.values).length > 0;

  // Somebody else's edit comes in where nothing is being edited here; else it is met when this one is saved.
  useEffect(() => {
    if (job.version === edited.current) return;
    if (!form.isDirty()) {
      form.setInitialValues(before);
      form.setValues(before);
      edited.current = job.version;
    }
  }, [job.version, before, form]);

  const save = useDo(
    (body: Partial<Body>) =>
      got(
        api.PUT('/active-properties-config', {
          headers: { 'If-Match': `"${edited.current}"` },
          body: body as Body,
        }),
      ),
    {
      done: (told) => {
        const now = draftOf(told.job);
        form.setInitialValues(now);
        form.setValues(now);
        edited.current = told.job.version;
        setClash(false);
        say('Saved. The next run follows the new schedule.');
      },
      failed: (problem: Problem) => {
        if (problem.status === 412) {
          setClash(true);
          return true;
        }
        for (const { field, reason } of problem.body.errors ?? [])
          form.setFieldError(field.replace(/^filters\./, ''), reason);
        return false;
      },
    },
  );

  function take(): void {
    form.setInitialValues(before);
    form.setValues(before);
    edited.current = job.version;
    setClash(false);
  }

  const asked = useDebouncedValue(`${form.values.cron_expression.trim()}\n${form.values.timezone}`, 250)[0].split('\n');
  const seen = useQuery(preview(asked[0] ?? '', asked[1] ?? 'UTC'));
  const wrong = seen.data && !seen.data.valid ? seen.data.error : null;
  const started = draftOf(job);
  const from = clash ? form.values : null;

  return (
    <form
      onSubmit={form.onSubmit((draft) => {
        if (wrong === null) save.mutate(bodyOf(draft, started, job));
      })}
    >
      <Panel
        title="Schedule"
        right={
          <SegmentedControl
            size="xs"
            value={mode}
            onChange={setMode}
            data={[
              { value: 'simple', label: 'Simple' },
              { value: 'cron', label: 'Cron' },
            ]}
            aria-label="Schedule editor mode"
          />
        }
      >
        <Grid gap="xl">
          <Grid.Col span={{ base: 12, md: 7 }}>
            <Stack gap="sm">
              <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm">
                {mode === 'simple' ? (
                  <Select
                    label="How often"
                    data={
                      isPreset(form.values.cron_expression)
                        ? [...PRESETS]
                        : [
                            ...PRESETS,
                            {
                              value: form.values.cron_expression,
                              label: `As cron says: ${form.values.cron_expression}`,
                            },
                          ]
                    }
                    allowDeselect={false}
                    {...form.getInputProps('cron_expression')}
                  />
                ) : (
                  <TextInput
                    label="Cron expression"
                    description="minute hour day month weekday"
                    styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)' } }}
                    spellCheck={false}
                    {...form.getInputProps('cron_expression')}
                    error={
                      wrong && wrong.field !== 'timezone'
                        ? `${fieldName(wrong.field)}${wrong.reason}`
                        : form.errors.cron_expression
                    }
                  />
                )}
                <Select
                  label="Schedule time zone"
                  searchable
                  data={ZONES.includes(form.values.timezone) ? ZONES : [form.values.timezone, ...ZONES]}
                  allowDeselect={false}
                  {...form.getInputProps('timezone')}
                  error={wrong?.field === 'timezone' ? wrong.reason : form.errors.timezone}
                />
              </SimpleGrid>
              <Sentence draft={form.values} told={seen.data} />
              <SimpleGrid cols={{ base: 1, xs: 3 }} spacing="sm">
                <NumberInput
                  label="Listings per location"
                  description="In one run, at most"
                  min={1}
                  max={10_000}
                  step={100}
                  thousandSeparator
                  allowDecimal={false}
                  clampBehavior="strict"
                  {...form.getInputProps('limit')}
                />
                <NumberInput
                  label="Delay between requests"
                  description="Seconds; be kind to the MLS"
                  min={0}
                  max={60}
                  step={0.5}
                  decimalScale={2}
                  suffix=" s"
                  {...form.getInputProps('request_delay')}
                />
                <Select
                  label="Priority"
                  description="Against other schedules"
                  data={[
                    { value: 'low', label: 'Low' },
                    { value: 'normal', label: 'Normal' },
                    { value: 'high', label: 'High' },
                    { value: 'immediate', label: 'Immediate' },
                  ]}
                  allowDeselect={false}
                  {...form.getInputProps('priority')}
                />
              </SimpleGrid>
              <Text size="sm" fw={550} mt={4}>
                Only active properties with
              </Text>
              <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm">
                <TagsInput
                  label="City"
                  placeholder={form.values.city.length ? '' : 'any'}
                  clearable
                  {...form.getInputProps('city')}
                />
                <TagsInput
                  label="ZIP"
                  placeholder={form.values.postal_code.length ? '' : 'any'}
                  clearable
                  {...form.getInputProps('postal_code')}
                />
                <TagsInput
                  label="Tag"
                  placeholder={form.values.tags.length ? '' : 'any'}
                  clearable
                  {...form.getInputProps('tags')}
                />
                <TagsInput
                  label="Agent"
                  placeholder={form.values.assigned_agent.length ? '' : 'any'}
                  clearable
                  {...form.getInputProps('assigned_agent')}
                />
              </SimpleGrid>
              <OtherFilters filters={job.filters} />
            </Stack>
          </Grid.Col>
          <Grid.Col span={{ base: 12, md: 5 }}>
            <NextRuns of={seen} job={job} />
          </Grid.Col>
        </Grid>
        {from !== null && (
          <Clash
            mine={from}
            theirs={started}
            take={take}
            keep={() => {
              edited.current = job.version;
              save.mutate(bodyOf(form.values, started, job));
            }}
          />
        )}
        {dirty && from === null && (
          <Group justify="flex-end" mt="md" gap="sm">
            <Text size="sm" c="dimmed" mr="auto" component="div" role="status">
              {changes(started, form.values).map((name) => (
                <div key={name}>
                  {LABELS[name]}: {shownValue(name, started)} → <b>{shownValue(name, form.values)}</b>
                </div>
              ))}
            </Text>
            <Button variant="default" onClick={take}>
              Discard
            </Button>
            <Act
              needs="write:config"
              type="submit"
              loading={save.isPending}
              refused={wrong ? 'The schedule is not valid.' : null}
              onClick={() => save.mutate(bodyOf(form.values, started, job))}
            >
              Save schedule
            </Act>
          </Group>
        )}
      </Panel>
    </form>
  );
}

function fieldName(field: string): string {
  return ['minute', 'hour', 'day', 'month', 'weekday'].includes(field) ? `${field}: ` : '';
}

function OtherFilters({ filters }: { filters: Job['filters'] }) {
  const others = Object.entries(filters).filter(([name]) => !FILTERS.includes(name as never));
  if (others.length === 0) return null;
  return (
    <Text size="xs" c="dimmed">
      Also:{' '}
      {others
        .map(
          ([name, value]) => `${name.replaceAll('_', ' ')} ${Array.isArray(value) ? value.join(', ') : String(value)}`,
        )
        .join('; ')}
    </Text>
  );
}

function Sentence({ draft, told }: { draft: Draft; told: Schemas['SchedulePreview'] | undefined }) {
  const said = sentence(draft.cron_expression);
  return (
    <Text size="sm" aria-live="polite">
      {told && !told.valid ? (
        'This schedule cannot run.'
      ) : (
        <>
          <b>{said ?? 'As the cron expression says'}</b>, {zoneName(draft.timezone)} time.
          {told?.runs_per_day != null && ` About ${many(Math.round(told.runs_per_day * 10) / 10, 'run')} a day.`}
        </>
      )}{' '}
      <Code>{draft.cron_expression}</Code>
    </Text>
  );
}

function NextRuns({ of: asked, job }: { of: ReturnType<typeof useQuery<Schemas['SchedulePreview']>>; job: Job }) {
  const zone = useZone();
  return (
    <>
      <Text fw={600} size="sm" mb={6}>
        Next 5 runs{' '}
        <Text span c="dimmed" fw={400} size="xs">
          in your time ({zoneName(zone)})
        </Text>
      </Text>
      <Loaded of={asked}>
        {(told) =>
          told.valid ? (
            <>
              <Table verticalSpacing={5} fz="sm" className="num" aria-label="Next 5 runs">
                <Table.Tbody>
                  {told.next_runs.map((run) => (
                    <Table.Tr key={run.at}>
                      <Table.Td>
                        <When at={run.at} as="full" />
                      </Table.Td>
                      <Table.Td c="dimmed">
                        <When at={run.at} />
                      </Table.Td>
                    </Table.Tr>
                  ))}
                </Table.Tbody>
              </Table>
              {told.daylight_saving.length > 0 && (
                <List size="xs" mt={8} c="dimmed">
                  {told.daylight_saving.map((one) => (
                    <List.Item key={one}>{one}</List.Item>
                  ))}
                </List>
              )}
              <Overlap told={told} median={job.median_duration_ms} />
            </>
          ) : (
            <Text size="sm" c="dimmed">
              None: {told.error ? `${fieldName(told.error.field)}${told.error.reason}` : 'it is not valid'}
            </Text>
          )
        }
      </Loaded>
    </>
  );
}

/** Runs that usually take longer than the time between two of them. */
export function overlaps(runs: { at: string }[], median: number | null): boolean {
  if (median === null) return false;
  return runs.some((run, place) => {
    const next = runs[place + 1];
    return next !== undefined && new Date(next.at).getTime() - new Date(run.at).getTime() < median;
  });
}

function Overlap({ told, median }: { told: Schemas['SchedulePreview']; median: number | null }) {
  if (!overlaps(told.next_runs, median)) return null;
  return (
    <Alert
      color="orange"
      variant="light"
      mt="sm"
      icon={<IconAlertTriangle size={18} aria-hidden />}
      title="Runs would overlap"
    >
      A run usually takes {duration(median)}; due times while one is under way are skipped.
    </Alert>
  );
}

interface ClashProps {
  mine: Draft;
  theirs: Draft;
  take: () => void;
  keep: () => void;
}

/** Two people have edited at once: both versions, and the choice. */
function Clash({ mine, theirs, take, keep }: ClashProps) {
  const names = (Object.keys(LABELS) as (keyof Draft)[]).filter((name) => String(mine[name]) !== String(theirs[name]));
  return (
    <Alert
      color="orange"
      variant="light"
      mt="md"
      role="alert"
      icon={<IconAlertTriangle size={18} aria-hidden />}
      title="Somebody else has changed the schedule meanwhile"
    >
      <Table fz="sm" verticalSpacing={4} mb="sm" aria-label="Both versions">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Setting</Table.Th>
            <Table.Th>Theirs, saved</Table.Th>
            <Table.Th>Yours</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {names.map((name) => (
            <Table.Tr key={name}>
              <Table.Td>{LABELS[name]}</Table.Td>
              <Table.Td>{shownValue(name, theirs)}</Table.Td>
              <Table.Td>{shownValue(name, mine)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      <Group gap="xs">
        <Button size="compact-sm" variant="default" onClick={take}>
          Take theirs
        </Button>
        <Act needs="write:config" size="compact-sm" onClick={keep}>
          Save yours over it
        </Act>
      </Group>
    </Alert>
  );
}
