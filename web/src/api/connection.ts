/** Whether the service answers, told from the requests that are made anyway. */
import { useSyncExternalStore } from 'react';

export type Standing = 'polling' | 'reconnecting' | 'offline';

export interface Connection {
  standing: Standing;
  /** When the service last answered; null before it ever did. */
  answeredAt: number | null;
}

/** So many requests in a row without an answer are more than a hiccup. */
const PATIENCE = 3;

let failures = 0;
let now: Connection = { standing: 'polling', answeredAt: null };
const heard = new Set<() => void>();

function become(next: Connection): void {
  now = next;
  for (const tell of heard) tell();
}

export function answered(): void {
  failures = 0;
  become({ standing: 'polling', answeredAt: Date.now() });
}

export function failed(): void {
  failures += 1;
  const lost = failures >= PATIENCE || navigator.onLine === false;
  become({ standing: lost ? 'offline' : 'reconnecting', answeredAt: now.answeredAt });
}

export function connection(): Connection {
  return now;
}

function subscribe(tell: () => void): () => void {
  heard.add(tell);
  return () => heard.delete(tell);
}

export function useConnection(): Connection {
  return useSyncExternalStore(subscribe, connection);
}
