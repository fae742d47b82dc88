/** Cron expressions as people read them. What they mean, the service computes; here are only words. */
import cronstrue from 'cronstrue';

export const PRESETS: readonly { value: string; label: string }[] = [
  { value: '0 * * * *', label: 'Every hour' },
  { value: '0 */2 * * *', label: 'Every 2 hours' },
  { value: '0 */4 * * *', label: 'Every 4 hours' },
  { value: '0 */6 * * *', label: 'Every 6 hours' },
  { value: '0 */12 * * *', label: 'Every 12 hours' },
  { value: '0 2 * * *', label: 'Daily at 2 AM' },
  { value: '0 6 * * *', label: 'Daily at 6 AM' },
  { value: '0 12 * * *', label: 'Daily at noon' },
  { value: '0 18 * * *', label: 'Daily at 6 PM' },
];

export function isPreset(cron: string): boolean {
  return PRESETS.some((preset) => preset.value === cron.trim());
}

/** "Every 2 hours"; null where it cannot be said. */
export function sentence(cron: string): string | null {
  const preset = PRESETS.find((one) => one.value === cron.trim());
  if (preset) return preset.label;
  try {
    return cronstrue.toString(cron, { use24HourTimeFormat: false, verbose: false });
  } catch {
    return null;
  }
}

/** Which field of an expression an error is about, as it is put before the reason; empty where it is about the whole. */
export function fieldName(field: string): string {
  return ['minute', 'hour', 'day', 'month', 'weekday'].includes(field) ? `${field}: ` : '';
}
