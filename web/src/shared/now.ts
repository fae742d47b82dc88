/** One clock for all relative times of a page. */
import { useSyncExternalStore } from 'react';

const EVERY = 5_000;
let now = new Date();
let ticking: ReturnType<typeof setInterval> | null = null;
const heard = new Set<() => void>();

function subscribe(tell: () => void): () => void {
  heard.add(tell);
  if (ticking === null) {
    now = new Date();
    ticking = setInterval(() => {
      now = new Date();
      for (const one of heard) one();
    }, EVERY);
  }
  return () => {
    heard.delete(tell);
    if (heard.size === 0 && ticking !== null) {
      clearInterval(ticking);
      ticking = null;
    }
  };
}

export function useNow(): Date {
  return useSyncExternalStore(subscribe, () => now);
}
