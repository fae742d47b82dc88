import { api, got, type Schemas } from '@/api/client';
import { isOpen } from '@/api/live';
import { say, useDo } from '@/shared/doing';

/** Starting a run of active properties, and ending it. */
export function useRunNow() {
  return useDo(() => got(api.POST('/api/active-properties/run', {})), {
    done: (made) => say(`Run #${made.run_id} waits for a worker.`),
  });
}

export function useCancel() {
  return useDo((id: number) => got(api.POST('/api/runs/{run_id}/cancel', { params: { path: { run_id: id } } })), {
    done: (made) => say(`Run #${made.run_id} stops after the page under way.`, 'orange'),
  });
}

export function useRetryFailed(done?: (id: number) => void) {
  return useDo((id: number) => got(api.POST('/api/runs/{run_id}/retry-failed', { params: { path: { run_id: id } } })), {
    done: (made) => {
      say(`Run #${made.run_id} reads the failed locations again.`);
      done?.(made.run_id);
    },
  });
}

export function canRetry(run: Schemas['Run']): boolean {
  return !isOpen(run) && run.failed_locations > 0;
}
