import { Select } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { schedules } from '@/api/queries';
import { Page } from '@/shared/Page';
import { RunTable } from './RunTable';

const here = getRouteApi('/runs');

export function Runs() {
  const { show, schedule } = here.useSearch();
  const go = here.useNavigate();
  const known = useQuery(schedules);
  return (
    <Page
      title="Runs"
      below="Every reading of the MLS: scheduled, by hand or delivered. Due times of which no run was made stand among them, with the reason."
    >
      <RunTable
        title="All runs"
        filter={schedule ? { scheduled_job_id: schedule } : {}}
        shown={show ?? 'all'}
        onShown={(next) =>
          void go({ search: (before) => ({ ...before, show: next === 'all' ? undefined : next }), replace: true })
        }
        right={
          (known.data?.items.length ?? 0) > 1 ? (
            <Select
              size="xs"
              aria-label="Schedule"
              placeholder="Any schedule"
              clearable
              data={(known.data?.items ?? []).map((job) => ({ value: job.scheduled_job_id, label: job.name }))}
              value={schedule ?? null}
              onChange={(next) =>
                void go({ search: (before) => ({ ...before, schedule: next ?? undefined }), replace: true })
              }
            />
          ) : undefined
        }
      />
    </Page>
  );
}
