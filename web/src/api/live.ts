/**
 * How pages keep up with the service: by asking again, more often while something runs. The one place that knows it, so
 * that a stream of events can take its place.
 */

/** Milliseconds between two questions. */
export const PACE = { running: 1_500, usual: 5_000, slow: 30_000 } as const;

/** For a query's `refetchInterval`: quick while `busy` says so of its answer. A hidden tab asks nothing. */
export function keepingUp<T>(busy: (data: T) => boolean): (query: { state: { data?: T } }) => number {
  return ({ state }) => (state.data !== undefined && busy(state.data) ? PACE.running : PACE.usual);
}

/** Milliseconds around a due time in which a run is looked for closely: a short one would be over before it is seen. */
const NEAR = { before: 1_500, after: 12_000 };

export function isDue(at: string | null | undefined): boolean {
  const left = at == null ? Number.NaN : new Date(at).getTime() - Date.now();
  return left < NEAR.before && left > -NEAR.after;
}

const OPEN = new Set(['queued', 'running']);

export function isOpen(run: { status: string } | null | undefined): boolean {
  return run != null && OPEN.has(run.status);
}
