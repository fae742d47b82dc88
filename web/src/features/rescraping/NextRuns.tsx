import { Alert, List, Table, Text } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import type { useQuery } from '@tanstack/react-query';
import type { Schemas } from '@/api/client';
import { duration, zoneName } from '@/shared/format';
import { Loaded } from '@/shared/Panel';
import { useZone } from '@/shared/preferences';
import { When } from '@/shared/When';
import { fieldName } from './cron';
import type { Job } from './draft';

/** The due times that a schedule would have, and what is odd about them. */
export function NextRuns({
  of: asked,
  job,
}: {
  of: ReturnType<typeof useQuery<Schemas['SchedulePreview']>>;
  job: Job;
}) {
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
