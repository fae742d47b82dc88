import { Alert, Group, Stack, Text } from '@mantine/core';
import { IconAlertTriangle, IconRotateClockwise } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import type { Schemas } from '@/api/client';
import { isOpen } from '@/api/live';
import { runErrors } from '@/api/queries';
import { Act } from '@/shared/Act';
import { count, many } from '@/shared/format';
import { PageLink } from '@/shared/links';
import { Loaded } from '@/shared/Panel';
import { RUN } from '@/shared/status';
import { When } from '@/shared/When';
import { canRetry, useRetryFailed } from './doing';
import { Locations } from './Locations';
import { wasMade } from './RunTable';

/** Why a due time has no run, in words. */
const REASONS: Record<string, string> = {
  paused: 'The schedule was paused.',
  overlap: 'The run before had not ended.',
  nothing_active: 'No CRM property was active.',
  no_location: 'Nobody knew where the active properties are.',
  no_source: 'No source was there to read them from.',
  downtime: 'Nobody was there to look; the latest due time became a run.',
};

export function reasonOf(run: Schemas['Run']): string {
  return run.reason === null ? '' : (REASONS[run.reason] ?? run.reason);
}

/** What came of a run, under its row. */
export function RunDetail({ run }: { run: Schemas['Run'] }) {
  if (!wasMade(run)) {
    return (
      <Text size="sm">
        {reasonOf(run)}
        {run.due_times > 1 && (
          <>
            {' '}
            {count(run.due_times)} due times, from <When at={run.scheduled_for} as="full" /> to{' '}
            <When at={run.last_due_at} as="full" />.
          </>
        )}
      </Text>
    );
  }
  return (
    <Stack gap="sm">
      <WhatWentWrong run={run} />
      <Locations run={run} few />
      <PageLink to="/runs/$id" params={{ id: String(run.run_id) }} size="sm">
        All of run #{run.run_id}
      </PageLink>
    </Stack>
  );
}

/** What went wrong, by cause, with its one action. */
export function WhatWentWrong({ run }: { run: Schemas['Run'] }) {
  const errors = useQuery({
    ...runErrors(run.run_id, isOpen(run)),
    enabled: run.failed_locations > 0 || run.error_code !== null,
  });
  const go = useNavigate();
  const retry = useRetryFailed((id) => void go({ to: '/runs/$id', params: { id: String(id) } }));
  if (run.failed_locations === 0 && run.error_code === null) return null;
  return (
    <Loaded of={errors}>
      {(found) => (
        <Stack gap="xs">
          {found.items.length === 0 && run.error_code !== null && (
            <Alert
              color="red"
              variant="light"
              icon={<IconAlertTriangle size={18} aria-hidden />}
              title={run.error_detail ?? run.error_code}
            />
          )}
          {found.items.map((one, place) => (
            <Alert
              key={one.code}
              color={RUN[run.status]?.color ?? 'red'}
              variant="light"
              icon={<IconAlertTriangle size={18} aria-hidden />}
              title={one.detail ?? one.code}
            >
              <Text size="sm" c="dimmed">
                {many(one.locations, 'location')}: {one.examples.join(', ')}
              </Text>
              {one.hint && (
                <Text size="sm" className="sentence">
                  {one.hint}
                </Text>
              )}
              {place === 0 && canRetry(run) && (
                <Group mt="xs">
                  <Act
                    needs="run"
                    size="compact-sm"
                    leftSection={<IconRotateClockwise size={14} />}
                    loading={retry.isPending}
                    onClick={() => retry.mutate(run.run_id)}
                  >
                    Retry failed locations
                  </Act>
                </Group>
              )}
            </Alert>
          ))}
        </Stack>
      )}
    </Loaded>
  );
}
