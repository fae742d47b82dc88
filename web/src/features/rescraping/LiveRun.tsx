import { Card, Group, Progress, Text } from '@mantine/core';
import { IconPlayerStop } from '@tabler/icons-react';
import { useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';
import { isOpen } from '@/api/live';
import { config, run, runLocations } from '@/api/queries';
import { percent } from '@/features/overview/RunningNow';
import { useCancel } from '@/features/runs/doing';
import { Act } from '@/shared/Act';
import { count, duration } from '@/shared/format';
import { PageLink } from '@/shared/links';
import { useNow } from '@/shared/now';
import { RUN, Status } from '@/shared/status';
import { When } from '@/shared/When';
import { updated } from './RunStrip';

/** The run that is under way: how far it is, where, and what came of it so far. */
export function LiveRun({ id }: { id: number }) {
  const asked = useQuery(run(id));
  const reading = useInfiniteQuery(runLocations(id, true, ['running']));
  const now = useNow();
  const cancel = useCancel();
  const one = asked.data;
  const client = useQueryClient();
  const ended = one !== undefined && !isOpen(one);
  useEffect(() => {
    if (ended) void client.invalidateQueries({ queryKey: config.queryKey }); // the page says so at once
  }, [ended, client]);
  if (one === undefined || !isOpen(one)) return null;
  const places = (reading.data?.pages ?? []).flatMap((page) => page.items).map((place) => place.location);
  const left = one.estimated_finish_at ? new Date(one.estimated_finish_at).getTime() - now.getTime() : null;
  return (
    <Card withBorder p="md" component="section" aria-label="The run under way">
      <Group justify="space-between" mb={6} gap="xs">
        <Group gap="xs">
          <Status of={one.status} as={RUN} />
          <PageLink to="/runs/$id" params={{ id: String(id) }} fw={600} size="sm">
            Run #{id}
          </PageLink>
          <Text size="sm" c="dimmed">
            {one.started_at ? (
              <>
                started <When at={one.started_at} />
              </>
            ) : (
              'waits for a worker'
            )}
            {left !== null && left > 0 && ` · about ${duration(left)} left`}
          </Text>
        </Group>
        <Act
          needs="run"
          size="compact-sm"
          variant="default"
          leftSection={<IconPlayerStop size={14} />}
          loading={cancel.isPending}
          onClick={() => cancel.mutate(id)}
        >
          Stop after this page
        </Act>
      </Group>
      <Progress value={percent(one)} size={10} animated aria-label="Locations done, percent" />
      <Group justify="space-between" mt={6} gap="xs">
        <Text size="sm" className="num">
          {one.finished_locations} of {one.locations} locations
          {places.length > 0 && (
            <>
              {' '}
              · now <b>{places.slice(0, 3).join(', ')}</b>
              {places.length > 3 && ` and ${places.length - 3} more`}
            </>
          )}
        </Text>
        <Text size="sm" c="dimmed" className="num">
          {count(Number(one.counts.read ?? 0))} read · {count(updated(one))} CRM updated
        </Text>
      </Group>
    </Card>
  );
}
