/** The API key that was typed in: kept for the life of the tab and nowhere else. */
const PLACE = 'mls-crm-sync-key';
const heard = new Set<() => void>();

export function key(): string | null {
  return sessionStorage.getItem(PLACE);
}

export function setKey(value: string | null): void {
  if (value === null) sessionStorage.removeItem(PLACE);
  else sessionStorage.setItem(PLACE, value);
  for (const tell of heard) tell();
}

/** The service does not take the key any more: whoever listens asks anew who this is. */
export function keyRefused(): void {
  for (const tell of heard) tell();
}

export function onKey(tell: () => void): () => void {
  heard.add(tell);
  return () => heard.delete(tell);
}
