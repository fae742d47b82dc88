/** A schedule as its form has it: from what is stored, to what has to be sent, and what has changed between. */
import type { Schemas } from '@/api/client';
import { sentence } from './cron';

export type Job = Schemas['Schedule'];

/** What is edited, as the form has it. */
export interface Draft {
  cron_expression: string;
  timezone: string;
  limit: number | string;
  request_delay: number | string;
  priority: string;
  city: string[];
  postal_code: string[];
  tags: string[];
  assigned_agent: string[];
}

export const FILTERS = ['city', 'postal_code', 'tags', 'assigned_agent'] as const;
export const LABELS: Record<keyof Draft, string> = {
  cron_expression: 'How often',
  timezone: 'Zone',
  limit: 'Listings per location',
  request_delay: 'Delay',
  priority: 'Priority',
  city: 'Cities',
  postal_code: 'ZIPs',
  tags: 'Tags',
  assigned_agent: 'Agents',
};

export function draftOf(job: Job): Draft {
  const of = (name: string) => ((job.filters[name] as string[] | undefined) ?? []).map(String);
  return {
    cron_expression: job.cron_expression,
    timezone: job.timezone,
    limit: job.limit,
    request_delay: job.request_delay,
    priority: job.priority,
    city: of('city'),
    postal_code: of('postal_code'),
    tags: of('tags'),
    assigned_agent: of('assigned_agent'),
  };
}

export type Body = Schemas['ActivePropertiesChanges'];

/** What has to be sent for a draft; filters that are not edited here stay as they are. */
export function bodyOf(draft: Draft, before: Draft, job: Job): Partial<Body> {
  const body: Partial<Body> = {};
  if (draft.cron_expression.trim() !== before.cron_expression) body.cron_expression = draft.cron_expression.trim();
  if (draft.timezone !== before.timezone) body.timezone = draft.timezone;
  if (Number(draft.limit) !== Number(before.limit)) body.limit = Number(draft.limit);
  if (Number(draft.request_delay) !== Number(before.request_delay)) body.request_delay = Number(draft.request_delay);
  if (draft.priority !== before.priority) body.priority = draft.priority;
  if (FILTERS.some((name) => draft[name].join('\n') !== before[name].join('\n'))) {
    const kept = Object.fromEntries(Object.entries(job.filters).filter(([name]) => !FILTERS.includes(name as never)));
    body.filters = {
      ...kept,
      ...Object.fromEntries(FILTERS.filter((name) => draft[name].length > 0).map((name) => [name, draft[name]])),
    };
  }
  return body;
}

export function shownValue(name: keyof Draft, draft: Draft): string {
  const value = draft[name];
  if (Array.isArray(value)) return value.length === 0 ? 'any' : value.join(', ');
  if (name === 'cron_expression') return sentence(String(value)) ?? String(value);
  if (name === 'request_delay') return `${value} s`;
  return String(value);
}

/** The settings in which two drafts differ, in the order of the form. */
export function changes(before: Draft, draft: Draft): (keyof Draft)[] {
  return (Object.keys(LABELS) as (keyof Draft)[]).filter((name) => String(before[name]) !== String(draft[name]));
}
