import { Card, Group, Progress, Text } from '@mantine/core';
import type { Schemas } from '@/api/client';
import { count } from '@/shared/format';
import { PageLink } from '@/shared/links';
import { RUN, Status } from '@/shared/status';
import { When } from '@/shared/When';

export function percent(run: Schemas['Run']): number {
  return run.locations === 0 ? 0 : Math.round((run.finished_locations / run.locations) * 100);
}

export function RunningNow({ runs }: { runs: Schemas['Run'][] }) {
  return runs.map((run) => (
    <Card key={run.run_id} withBorder p="md" component="section" aria-label={`Run ${run.run_id}`}>
      <Group justify="space-between" mb={6} gap="xs">
        <Group gap="xs">
          <Status of={run.status} as={RUN} />
          <PageLink to="/runs/$id" params={{ id: String(run.run_id) }} fw={600} size="sm">
            Run #{run.run_id}
          </PageLink>
          {run.started_at && (
            <Text size="sm" c="dimmed">
              started <When at={run.started_at} />
            </Text>
          )}
        </Group>
        <Text size="sm" c="dimmed" className="num">
          {run.finished_locations} of {run.locations} locations · {count(Number(run.counts.read ?? 0))} read ·{' '}
          {count(Number(run.counts.crm_updated ?? 0))} CRM updated
        </Text>
      </Group>
      <Progress value={percent(run)} size={8} animated aria-label={`Run ${run.run_id}: locations done, percent`} />
    </Card>
  ));
}
