/** Values as people read them. Instants are ISO texts in UTC; zones are IANA names; money is decimal text. */

const LOCALE = 'en-US';
const NONE = '—';

const formats = new Map<string, Intl.DateTimeFormat>();

function dates(zone: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const name = JSON.stringify([zone, options]);
  let format = formats.get(name);
  if (format === undefined) {
    format = new Intl.DateTimeFormat(LOCALE, { timeZone: zone, ...options });
    formats.set(name, format);
  }
  return format;
}

/** "Mon, Nov 23, 9:00 AM EST" */
export function instant(at: string | Date, zone: string): string {
  return dates(zone, {
    weekday: 'short',
    month: 'short',
    day: 'numeric',
    hour: 'numeric',
    minute: '2-digit',
    timeZoneName: 'short',
  }).format(new Date(at));
}

/** "Nov 23, 9:00 AM"; with the year where it is not this one. */
export function shortInstant(at: string | Date, zone: string, now: Date): string {
  const date = new Date(at);
  const year = dates(zone, { year: 'numeric' });
  const same = year.format(date) === year.format(now);
  return dates(zone, {
    ...(same ? {} : { year: 'numeric' as const }),
    month: 'short',
    day: 'numeric',
    hour: 'numeric',
    minute: '2-digit',
  }).format(date);
}

/** "9:00:07 AM" */
export function clock(at: string | Date, zone: string): string {
  return dates(zone, { hour: 'numeric', minute: '2-digit', second: '2-digit' }).format(new Date(at));
}

/** Up to how many seconds a unit is used, and how many it has. */
type Step = [limit: number, unit: Intl.RelativeTimeFormatUnit, seconds: number];
const LONGEST: Step = [Number.POSITIVE_INFINITY, 'year', 365.25 * 86_400];
const steps: Step[] = [
  [45, 'second', 1],
  [45 * 60, 'minute', 60],
  [22 * 3600, 'hour', 3600],
  [26 * 86_400, 'day', 86_400],
  [320 * 86_400, 'month', 30.44 * 86_400],
];
const relatives = new Intl.RelativeTimeFormat(LOCALE, { numeric: 'always', style: 'short' });

/** "in 36 min.", "2 hr. ago", "just now" */
export function relative(at: string | Date, now: Date): string {
  const seconds = (new Date(at).getTime() - now.getTime()) / 1000;
  const far = Math.abs(seconds);
  if (far < 5) return 'just now';
  const [, unit, size] = steps.find(([limit]) => far < limit) ?? LONGEST;
  return relatives.format(Math.round(seconds / size), unit);
}

/** A date without a time stays that date, whatever the zone: "2026-08-04" is Aug 4, 2026. */
export function dateOnly(text: string): string {
  const [year, month, day] = text.split('-').map(Number);
  if (year === undefined || month === undefined || day === undefined || Number.isNaN(year + month + day)) return text;
  return dates('UTC', { year: 'numeric', month: 'short', day: 'numeric' }).format(Date.UTC(year, month - 1, day));
}

/** "4m 05s", "52s", "1h 02m" */
export function duration(ms: number | null | undefined): string {
  if (ms == null) return NONE;
  if (ms < 950) return '<1s';
  const seconds = Math.round(ms / 1000);
  const two = (number: number) => String(number).padStart(2, '0');
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${two(seconds % 60)}s`;
  return `${Math.floor(seconds / 3600)}h ${two(Math.floor((seconds % 3600) / 60))}m`;
}

/** "6 hours", "3 days": a length that somebody chose. */
export function span(seconds: number): string {
  const [size, unit] =
    seconds % 86_400 === 0 ? [86_400, 'day'] : seconds % 3600 === 0 ? [3600, 'hour'] : [60, 'minute'];
  const number = seconds / size;
  return `${count(number)} ${unit}${number === 1 ? '' : 's'}`;
}

const counts = new Intl.NumberFormat(LOCALE);

export function count(number: number): string {
  return counts.format(number);
}

/** "1 property", "1,204 properties" */
export function many(number: number, one: string, several: string = `${one}s`): string {
  return `${count(number)} ${number === 1 ? one : several}`;
}

/** Formats decimal text exactly, to its last digit; what is no number stays as it is. */
export function money(text: string | number | null | undefined, currency = 'USD'): string {
  if (text == null || text === '') return NONE;
  const exact = String(text);
  if (!/^-?\d+(\.\d+)?$/.test(exact)) return exact;
  const digits = exact.includes('.') ? Math.max(2, exact.length - exact.indexOf('.') - 1) : 0;
  const format = new Intl.NumberFormat(LOCALE, {
    style: 'currency',
    currency,
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  return format.format(exact as Intl.StringNumericLiteral).replace('-', '−');
}

/** The difference of two decimal texts as decimal text, exactly; null where one is no number. */
export function difference(before: string, after: string): string | null {
  const parts = [before, after].map((text) => /^(-?)(\d+)(?:\.(\d+))?$/.exec(text));
  if (parts[0] == null || parts[1] == null) return null;
  const places = Math.max(parts[0][3]?.length ?? 0, parts[1][3]?.length ?? 0);
  const [a, b] = parts.map((part) => BigInt(`${part?.[1]}${part?.[2]}${(part?.[3] ?? '').padEnd(places, '0')}`));
  const change = (b ?? 0n) - (a ?? 0n);
  const digits = String(change < 0n ? -change : change).padStart(places + 1, '0');
  const text = places === 0 ? digits : `${digits.slice(0, -places)}.${digits.slice(-places)}`;
  return change < 0n ? `-${text}` : text;
}

/** "−$20,000 (−4.0%)"; null where nothing can be said. */
export function priceChange(before: string | null, after: string | null): string | null {
  if (before === null || after === null) return null;
  const change = difference(before, after);
  if (change === null || Number(before) <= 0) return null;
  const percent = (Number(change) / Number(before)) * 100;
  const sign = change.startsWith('-') ? '' : '+';
  return `${sign}${money(change)} (${sign}${percent.toFixed(1).replace('-', '−')}%)`;
}

/** "$749K", for an axis. */
export function shortMoney(number: number, currency = 'USD'): string {
  return new Intl.NumberFormat(LOCALE, {
    style: 'currency',
    currency,
    notation: 'compact',
    maximumSignificantDigits: 4,
  }).format(number);
}

const UNITS: Record<string, string> = { sqft: 'sq ft', acres: 'acres', degrees: '°', days: 'days', year: '' };

function number(value: unknown, unit: string | null): string {
  const text = String(value);
  const grouped =
    unit === 'year' || unit === 'degrees' || !/^-?\d+(\.\d+)?$/.test(text)
      ? text
      : new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 20 }).format(text as Intl.StringNumericLiteral);
  const word = UNITS[unit ?? ''] ?? unit ?? '';
  return unit === 'degrees' ? `${grouped}${word}` : `${grouped} ${word}`.trim();
}

const NUMBERS = new Set(['decimal', 'integer', 'bathrooms', 'latitude', 'longitude']);

/** A fact by the type that the table of fields gives it; "—" where there is none. */
export function fact(value: unknown, type: string | null, unit: string | null, zone: string): string {
  if (value === null || value === undefined || value === '') return NONE;
  if (type === 'money') return money(String(value), unit ?? 'USD');
  if (type === 'date') return dateOnly(String(value));
  if (type === 'instant') return instant(String(value), zone);
  if (typeof value === 'boolean') return value ? 'Yes' : 'No';
  if (type === 'media' && Array.isArray(value)) return many(value.length, 'item');
  if (NUMBERS.has(type ?? '')) return number(value, unit);
  if (Array.isArray(value))
    return value.map((one) => (typeof one === 'object' ? JSON.stringify(one) : String(one))).join(', ');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** "New York" of "America/New_York" */
export function zoneName(zone: string): string {
  return (zone.split('/').pop() ?? zone).replaceAll('_', ' ');
}

export function words(name: string): string {
  const text = name.replaceAll('_', ' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
}
