/**
 * How pages keep up with the service: by asking again, more often while something runs. The one place that knows it, so
 * that a stream of events can take its place.
 */

/** Milliseconds between two questions. */
export const PACE = { running: 1_500, usual: 8_000, slow: 30_000 } as const;

export type Pace = keyof typeof PACE;

/** For a query's `refetchInterval`: quick while `busy` says so of its answer. A hidden tab asks nothing. */
export function keepingUp<T>(busy: (data: T) => boolean): (query: { state: { data?: T } }) => number {
  return ({ state }) => (state.data !== undefined && busy(state.data) ? PACE.running : PACE.usual);
}

const OPEN = new Set(['queued', 'running']);

export function isOpen(run: { status: string } | null | undefined): boolean {
  return run != null && OPEN.has(run.status);
}
