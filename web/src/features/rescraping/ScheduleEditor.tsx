import {
  Button,
  Code,
  Grid,
  Group,
  NumberInput,
  SegmentedControl,
  Select,
  SimpleGrid,
  Stack,
  TagsInput,
  Text,
  TextInput,
} from '@mantine/core';
import { useForm } from '@mantine/form';
import { useDebouncedValue } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import { useEffect, useMemo, useRef, useState } from 'react';
import { api, got, type Schemas } from '@/api/client';
import type { Problem } from '@/api/problem';
import { preview } from '@/api/queries';
import { Act } from '@/shared/Act';
import { say, useDo } from '@/shared/doing';
import { many, zoneName } from '@/shared/format';
import { Panel } from '@/shared/Panel';
import { Clash } from './Clash';
import { fieldName, isPreset, PRESETS, sentence } from './cron';
import { type Body, bodyOf, changes, type Draft, draftOf, FILTERS, type Job, LABELS, shownValue } from './draft';
import { NextRuns } from './NextRuns';

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

  function send(draft: Draft): void {
    save.mutate(bodyOf(draft, before, job));
  }

  function take(): void {
    form.setInitialValues(before);
    form.setValues(before);
    edited.current = job.version;
    setClash(false);
  }

  const asked = useDebouncedValue(`${form.values.cron_expression.trim()}\n${form.values.timezone}`, 250)[0].split('\n');
  const seen = useQuery(preview(asked[0] ?? '', asked[1] ?? 'UTC'));
  const wrong = seen.data && !seen.data.valid ? seen.data.error : null;
  const from = clash ? form.values : null;

  return (
    <form
      onSubmit={form.onSubmit((draft) => {
        if (wrong === null) send(draft);
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
            theirs={before}
            take={take}
            keep={() => {
              edited.current = job.version;
              send(form.values);
            }}
          />
        )}
        {dirty && from === null && (
          <Group justify="flex-end" mt="md" gap="sm">
            <Text size="sm" c="dimmed" mr="auto" component="div" role="status">
              {changes(before, form.values).map((name) => (
                <div key={name}>
                  {LABELS[name]}: {shownValue(name, before)} → <b>{shownValue(name, form.values)}</b>
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
              onClick={() => send(form.values)}
            >
              Save schedule
            </Act>
          </Group>
        )}
      </Panel>
    </form>
  );
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
