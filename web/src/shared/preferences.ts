/** What a person chose for this browser: in which zone instants are shown. */
import { useSyncExternalStore } from 'react';

const PLACE = 'mls-crm-sync-zone';
const heard = new Set<() => void>();

export function ownZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
}

function kept(): string | null {
  try {
    return localStorage.getItem(PLACE);
  } catch {
    return null;
  }
}

let chosen = kept();

function zone(): string {
  return chosen ?? ownZone();
}

/** Null: as the browser has it. */
export function chooseZone(next: string | null): void {
  chosen = next;
  try {
    if (next === null) localStorage.removeItem(PLACE);
    else localStorage.setItem(PLACE, next);
  } catch {
    // no storage: it holds for this page
  }
  for (const tell of heard) tell();
}

export function useChosenZone(): string | null {
  return useSyncExternalStore(subscribe, () => chosen);
}

function subscribe(tell: () => void): () => void {
  heard.add(tell);
  return () => heard.delete(tell);
}

/** The zone in which this page shows instants. */
export function useZone(): string {
  return useSyncExternalStore(subscribe, zone);
}
