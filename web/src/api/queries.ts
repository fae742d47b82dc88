/** What pages ask, each question under one key. */
import { infiniteQueryOptions, keepPreviousData, queryOptions, useQuery } from '@tanstack/react-query';
import { api, got, type Schemas } from './client';
import { isDue, isOpen, keepingUp, PACE } from './live';

export const ACTIVE = 'active_properties_rescraping';
export type RunStatus = 'queued' | 'running' | 'succeeded' | 'partial' | 'failed' | 'cancelled' | 'skipped' | 'missed';
type Trigger = 'scheduled' | 'manual' | 'ingest' | 'push' | 'look_up' | 'replay' | 'retry';

export interface RunFilter {
  scheduled_job_id?: string;
  status?: RunStatus[];
  trigger?: Trigger[];
}

export interface PropertyFilter {
  q?: string;
  sync_status?: string[];
  standard_status?: string;
  crm_status?: string;
  city?: string;
  linked?: boolean;
}

export const me = queryOptions({
  queryKey: ['me'],
  queryFn: ({ signal }) => got(api.GET('/api/me', { signal })),
  staleTime: Number.POSITIVE_INFINITY,
});

export const about = queryOptions({
  queryKey: ['about'],
  queryFn: ({ signal }) => got(api.GET('/api/about', { signal })),
  staleTime: Number.POSITIVE_INFINITY,
});

export const overview = queryOptions({
  queryKey: ['overview'],
  queryFn: ({ signal }) => got(api.GET('/api/overview', { signal })),
  refetchInterval: keepingUp<Schemas['Overview']>((seen) => seen.running.length > 0 || isDue(seen.next_run_at)),
});

export const changes = (linked?: boolean) =>
  queryOptions({
    queryKey: ['changes', linked],
    queryFn: ({ signal }) => got(api.GET('/api/changes', { params: { query: { linked, limit: 30 } }, signal })),
    refetchInterval: PACE.usual,
  });

export const config = queryOptions({
  queryKey: ['config'],
  queryFn: ({ signal }) => got(api.GET('/active-properties-config', { signal })),
  refetchInterval: keepingUp<{ exists: boolean; job?: { activity: string; next_run_at: string | null } }>(
    ({ job }) => job !== undefined && (isOpen({ status: job.activity }) || isDue(job.next_run_at)),
  ),
});

export const selection = queryOptions({
  queryKey: ['selection'],
  queryFn: ({ signal }) =>
    got(api.POST('/api/scheduled-jobs/{id}/selection', { params: { path: { id: ACTIVE } }, signal })),
  refetchInterval: PACE.slow,
});

export const preview = (cron: string, tz: string) =>
  queryOptions({
    queryKey: ['preview', cron, tz],
    queryFn: ({ signal }) => got(api.GET('/api/schedule/preview', { params: { query: { cron, tz, n: 5 } }, signal })),
    placeholderData: keepPreviousData,
    staleTime: 20_000,
    refetchInterval: PACE.slow,
  });

export const schedules = queryOptions({
  queryKey: ['schedules'],
  queryFn: ({ signal }) => got(api.GET('/api/scheduled-jobs', { signal })),
  refetchInterval: PACE.slow,
});

/** The newest runs: of the strip and the first page of a table. */
export const newestRuns = (filter: RunFilter, limit: number) =>
  queryOptions({
    queryKey: ['runs', 'newest', filter, limit],
    queryFn: ({ signal }) => got(api.GET('/api/runs', { params: { query: { ...filter, limit } }, signal })),
    placeholderData: keepPreviousData,
    refetchInterval: keepingUp<Schemas['Page_Run_']>((page) => page.items.some(isOpen)),
  });

export const run = (id: number) =>
  queryOptions({
    queryKey: ['runs', id],
    queryFn: ({ signal }) => got(api.GET('/api/runs/{run_id}', { params: { path: { run_id: id } }, signal })),
    refetchInterval: keepingUp<Schemas['Run']>(isOpen),
  });

const PART = 200;

export const runLocations = (id: number, busy: boolean, status?: RunStatus[]) =>
  infiniteQueryOptions({
    queryKey: ['runs', id, 'locations', status],
    queryFn: ({ signal, pageParam }) =>
      got(
        api.GET('/api/runs/{run_id}/locations', {
          params: {
            path: { run_id: id },
            query: { limit: PART, cursor: pageParam, status: status as never },
          },
          signal,
        }),
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    refetchInterval: busy ? PACE.running : false,
  });

export const runChanges = (id: number, busy: boolean) =>
  infiniteQueryOptions({
    queryKey: ['runs', id, 'changes'],
    queryFn: ({ signal, pageParam }) =>
      got(
        api.GET('/api/runs/{run_id}/changes', {
          params: { path: { run_id: id }, query: { limit: PART, cursor: pageParam } },
          signal,
        }),
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    refetchInterval: busy ? PACE.running : false,
  });

export const runErrors = (id: number, busy: boolean) =>
  queryOptions({
    queryKey: ['runs', id, 'errors'],
    queryFn: ({ signal }) => got(api.GET('/api/runs/{run_id}/errors', { params: { path: { run_id: id } }, signal })),
    refetchInterval: busy ? PACE.running : false,
  });

export const runLog = (id: number, busy: boolean) =>
  queryOptions({
    queryKey: ['runs', id, 'log'],
    queryFn: ({ signal }) => got(api.GET('/api/runs/{run_id}/log', { params: { path: { run_id: id } }, signal })),
    refetchInterval: busy ? PACE.running : false,
  });

export const summaries = (filter: PropertyFilter) =>
  infiniteQueryOptions({
    queryKey: ['properties', 'list', filter],
    queryFn: ({ signal, pageParam }) =>
      got(
        api.GET('/api/property-summaries', {
          params: { query: { ...filter, limit: PART, cursor: pageParam } },
          signal,
        }),
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    placeholderData: keepPreviousData,
    refetchInterval: ({ state }) => ((state.data?.pages.length ?? 0) <= 1 ? PACE.usual : false),
  });

export const property = (id: string) =>
  queryOptions({
    queryKey: ['properties', id],
    queryFn: ({ signal }) => got(api.GET('/api/properties/{id}', { params: { path: { id } }, signal })),
    refetchInterval: PACE.usual,
  });

export const comparison = (id: string) =>
  queryOptions({
    queryKey: ['properties', id, 'compare'],
    queryFn: ({ signal }) => got(api.GET('/api/properties/{id}/compare', { params: { path: { id } }, signal })),
    refetchInterval: PACE.usual,
  });

export const history = (id: string) =>
  infiniteQueryOptions({
    queryKey: ['properties', id, 'history'],
    queryFn: ({ signal, pageParam }) =>
      got(
        api.GET('/api/properties/{id}/history', {
          params: { path: { id }, query: { limit: 50, cursor: pageParam } },
          signal,
        }),
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    refetchInterval: ({ state }) => ((state.data?.pages.length ?? 0) <= 1 ? PACE.usual : false),
  });

export const listingChanges = (id: string) =>
  queryOptions({
    queryKey: ['listings', id, 'changes'],
    queryFn: ({ signal }) =>
      got(api.GET('/api/mls-properties/{id}/changes', { params: { path: { id }, query: { limit: 1000 } }, signal })),
    refetchInterval: PACE.usual,
  });

export const listing = (id: string) =>
  queryOptions({
    queryKey: ['listings', id],
    queryFn: ({ signal }) => got(api.GET('/api/mls-properties/{id}', { params: { path: { id } }, signal })),
    refetchInterval: PACE.usual,
  });

export const listings = (q: string) =>
  queryOptions({
    queryKey: ['listings', 'search', q],
    queryFn: ({ signal }) => got(api.GET('/api/mls-properties', { params: { query: { q, limit: 8 } }, signal })),
    placeholderData: keepPreviousData,
  });

export const sources = queryOptions({
  queryKey: ['sources'],
  queryFn: ({ signal }) => got(api.GET('/api/sources', { signal })),
  refetchInterval: PACE.slow,
});

export const sourceKinds = queryOptions({
  queryKey: ['source-kinds'],
  queryFn: ({ signal }) => got(api.GET('/api/source-kinds', { signal })),
  staleTime: Number.POSITIVE_INFINITY,
});

export const keys = queryOptions({
  queryKey: ['keys'],
  queryFn: ({ signal }) => got(api.GET('/api/keys', { signal })),
});

export type Scope = 'read' | 'write:crm' | 'write:links' | 'write:config' | 'run' | 'admin';

/** Whether who looks at the page may do what needs `scope`; undefined while that is not known. */
export function useMay(scope: Scope): boolean | undefined {
  const { data } = useQuery(me);
  return data ? data.scopes.includes('admin') || data.scopes.includes(scope) : undefined;
}
