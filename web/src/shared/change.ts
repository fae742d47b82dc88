/** A change of a field as people read it. */
import { fact } from './format';

interface Changed {
  field_type: string | null;
  unit: string | null;
}

/** What a field was or became; "nothing" where the MLS says nothing. */
export function shownAs(of: Changed, value: unknown, zone: string, most = 90): string {
  if (value === null || value === undefined) return 'nothing';
  const text = fact(value, of.field_type, of.unit, zone);
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
