import { Alert, Group, Menu, SimpleGrid, Switch, Text } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconPlayerPause, IconPlayerPlay, IconSettings } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { api, got, type Schemas } from '@/api/client';
import { isOpen } from '@/api/live';
import { ACTIVE, config, newestRuns, selection } from '@/api/queries';
import { useRunNow } from '@/features/runs/doing';
import { RunTable } from '@/features/runs/RunTable';
import { Act, ActMenu, useRefusal } from '@/shared/Act';
import { Disclaimer } from '@/shared/Courtesy';
import { say, useDo } from '@/shared/doing';
import { count, many } from '@/shared/format';
import { Page } from '@/shared/Page';
import { Lines, Loaded, Panel } from '@/shared/Panel';
import { HEALTH, Status } from '@/shared/status';
import { Tile } from '@/shared/Tile';
import { When } from '@/shared/When';
import { LiveRun } from './LiveRun';
import { PauseDialog } from './PauseDialog';
import { Legend, RunStrip, updated } from './RunStrip';
import { ScheduleEditor } from './ScheduleEditor';

const STRIP = 48;
const TITLE = 'Active properties re-scraping';

/** The schedule of active properties: how it stands, when it runs, and what came of its runs. */
export function ActivePropertiesRescraping() {
  const asked = useQuery(config);
  return (
    <Loaded of={asked} skeleton={<Lines rows={10} height={34} />}>
      {(told) => (told.exists ? <Rescraping job={told.job} /> : <NotThere message={told.message} />)}
    </Loaded>
  );
}

function NotThere({ message }: { message: string }) {
  const make = useDo(() => got(api.PUT('/active-properties-config', { body: { cron_expression: '0 * * * *' } })), {
    done: () => say('The schedule is on: every hour.'),
  });
  return (
    <Page title={TITLE}>
      <Panel>
        <Text size="sm" mb="sm">
          {message}
        </Text>
        <Act needs="write:config" onClick={() => make.mutate(undefined)} loading={make.isPending}>
          Make the schedule
        </Act>
      </Panel>
    </Page>
  );
}

function Rescraping({ job }: { job: Schemas['Schedule'] }) {
  const strip = useQuery(newestRuns({ scheduled_job_id: ACTIVE }, STRIP));
  const go = useNavigate();
  const run = useRunNow();
  const busy = job.activity !== 'idle';
  return (
    <Page
      title={TITLE}
      badge={
        <>
          {job.health !== null && <Status of={job.health} as={HEALTH} />}
          {busy && <ActivityBadge activity={job.activity} />}
        </>
      }
      below="Reads the MLS listings of every CRM property marked active anew, and updates the linked records."
      actions={
        <>
          <OnOff job={job} />
          <PauseMenu job={job} />
          <Act
            needs="run"
            leftSection={<IconPlayerPlay size={16} />}
            refused={busy ? 'A run of this schedule is under way.' : null}
            loading={run.isPending}
            onClick={() => run.mutate(undefined)}
          >
            {busy ? (job.activity === 'queued' ? 'Waits for a worker' : 'Running now') : 'Run now'}
          </Act>
        </>
      }
    >
      <PauseBanner job={job} />
      {job.problem !== null && (
        <Alert color="red" variant="light" title="Nothing can be made of its due times">
          {job.problem}
        </Alert>
      )}
      <Tiles job={job} runs={strip.data?.items} />
      {job.current_run_id !== null && <LiveRun id={job.current_run_id} />}
      <Panel title={`Last ${STRIP} runs`} right={<Legend />}>
        <Loaded of={strip} skeleton={<Lines rows={1} height={84} />}>
          {(page) => (
            <RunStrip
              runs={page.items}
              onOpen={(one) => void go({ to: '/runs/$id', params: { id: String(one.run_id) } })}
            />
          )}
        </Loaded>
      </Panel>
      <ScheduleEditor job={job} />
      <RunTable filter={{ scheduled_job_id: ACTIVE }} title="Run history" size={12} />
      <Disclaimer />
    </Page>
  );
}

function ActivityBadge({ activity }: { activity: string }) {
  return (
    <Text size="sm" c="dimmed" role="status">
      {activity === 'queued' ? 'queued' : 'running'}
    </Text>
  );
}

function OnOff({ job }: { job: Schemas['Schedule'] }) {
  const away = useRefusal('write:config');
  const toggle = useDo((enabled: boolean) => got(api.POST('/active-properties-config/toggle', { body: { enabled } })), {
    inTurn: 'schedule on or off',
    done: (_, enabled) =>
      say(enabled ? 'The schedule is on.' : 'The schedule is off; nothing falls due.', 'teal', () =>
        toggle.mutate(!enabled),
      ),
  });
  // While the service is asked the switch stands as it was put, and keeps the focus.
  const on = toggle.isPending ? toggle.variables : job.status === 'active';
  return (
    <Switch
      checked={on}
      disabled={away !== null}
      title={away ?? undefined}
      onChange={(event) => toggle.mutate(event.currentTarget.checked)}
      label={on ? 'Schedule on' : 'Schedule off'}
    />
  );
}

function useResume() {
  return useDo(() => got(api.POST('/api/scheduled-jobs/{id}/resume', { params: { path: { id: ACTIVE } } })), {
    done: () => say('The schedule goes on.'),
  });
}

function PauseMenu({ job }: { job: Schemas['Schedule'] }) {
  const [asking, { open, close }] = useDisclosure(false);
  const resume = useResume();
  const pause = useDo(
    (until: string | null) =>
      got(
        api.POST('/api/scheduled-jobs/{id}/pause', {
          params: { path: { id: ACTIVE } },
          body: until === null ? undefined : { until },
        }),
      ),
    {
      done: () =>
        say('The schedule is paused; due times pass and are noted.', 'orange', () => resume.mutate(undefined)),
    },
  );
  if (job.paused || job.status !== 'active') return null;
  const inHours = (hours: number) => new Date(Date.now() + hours * 3_600_000).toISOString();
  return (
    <>
      <ActMenu needs="write:config" label="Pause" icon={<IconPlayerPause size={16} />}>
        <Menu.Item onClick={() => pause.mutate(inHours(1))}>For an hour</Menu.Item>
        <Menu.Item onClick={() => pause.mutate(inHours(8))}>For 8 hours</Menu.Item>
        <Menu.Item onClick={() => pause.mutate(null)}>Until somebody resumes it</Menu.Item>
        <Menu.Divider />
        <Menu.Item leftSection={<IconSettings size={14} aria-hidden />} onClick={open}>
          Until a time…
        </Menu.Item>
      </ActMenu>
      <PauseDialog opened={asking} close={close} pause={(until) => pause.mutate(until)} />
    </>
  );
}

function PauseBanner({ job }: { job: Schemas['Schedule'] }) {
  const resume = useResume();
  if (!job.paused) return null;
  return (
    <Alert color="orange" variant="light" icon={<IconPlayerPause size={18} aria-hidden />} title="Paused">
      <Group justify="space-between" gap="sm">
        <Text size="sm">
          By {who(job.paused_by)}, <When at={job.paused_at} as="both" />.{' '}
          {job.paused_until === null ? (
            'Until somebody resumes it.'
          ) : (
            <>
              Until <When at={job.paused_until} as="full" />.
            </>
          )}
        </Text>
        <Act
          needs="write:config"
          size="compact-sm"
          variant="default"
          loading={resume.isPending}
          onClick={() => resume.mutate(undefined)}
        >
          Resume
        </Act>
      </Group>
    </Alert>
  );
}

/** "local" is whoever sits at the service's machine. */
export function who(actor: string | null): string {
  if (actor === null) return 'nobody known';
  return actor === 'local' ? "somebody at the service's machine" : actor;
}

function Tiles({ job, runs }: { job: Schemas['Schedule']; runs: Schemas['Run'][] | undefined }) {
  const chosen = useQuery(selection);
  const done = (runs ?? []).filter((run) => !isOpen(run) && run.status !== 'skipped' && run.status !== 'missed');
  const succeeded = done.filter((run) => run.status === 'succeeded').length;
  const others = (['failed', 'partial', 'cancelled'] as const)
    .map((status) => [status, done.filter((run) => run.status === status).length] as const)
    .filter(([, number]) => number > 0)
    .map(([status, number]) => `${number} ${status === 'partial' ? 'partly done' : status}`);
  const passed = (runs ?? [])
    .filter((run) => run.status === 'missed' || run.status === 'skipped')
    .reduce((sum, run) => sum + run.due_times, 0);
  if (passed > 0) others.push(`${count(passed)} due times passed by`);
  const read = chosen.data;
  return (
    <SimpleGrid cols={{ base: 2, md: 4 }} spacing="sm">
      <Tile
        label="Last full success"
        value={<When at={job.last_success_at} never="Never" />}
        note={
          job.last_success_at ? <When at={job.last_success_at} as="full" /> : `${many(job.run_count, 'run')} so far`
        }
      />
      <Tile
        label="Next run"
        value={<When at={job.next_run_at} never={job.status === 'active' ? 'Paused' : 'Off'} />}
        note={job.next_run_at ? <When at={job.next_run_at} as="full" /> : 'no due time'}
      />
      <Tile
        label={`Success, last ${count(done.length)} runs`}
        value={done.length === 0 ? '—' : `${Math.floor((succeeded / done.length) * 100)}%`}
        note={others.join(' · ') || 'no failure'}
      />
      <Tile
        label="CRM records updated by them"
        value={count(done.reduce((sum, run) => sum + updated(run), 0))}
        note={
          read
            ? `reads ${many(read.properties, 'property', 'properties')} in ${many(read.locations, 'location')}`
            : undefined
        }
      />
    </SimpleGrid>
  );
}
