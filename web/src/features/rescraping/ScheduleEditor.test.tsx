import { notifications } from '@mantine/notifications';
import { screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Schemas } from '@/api/client';
import { playing, shown } from '@/testing';
import { sentence } from './cron';
import { bodyOf, draftOf } from './draft';
import { overlaps } from './NextRuns';
import { ScheduleEditor } from './ScheduleEditor';

type Job = Schemas['Schedule'];

const JOB = {
  scheduled_job_id: 'active_properties_rescraping',
  cron_expression: '0 * * * *',
  timezone: 'America/Chicago',
  limit: 1000,
  request_delay: 2,
  priority: 'normal',
  filters: { city: ['Austin'], min_list_price: '100000' },
  median_duration_ms: null,
  version: 3,
} as unknown as Job;

const PREVIEW = { valid: true, error: null, next_runs: [], runs_per_day: 24, daylight_saving: [] };
const ME = { caller: 'local', local: true, scopes: ['admin'] };

beforeEach(() => notifications.clean());

describe('what is sent', () => {
  const before = draftOf(JOB);

  it('is only what was changed', () => {
    expect(bodyOf(before, before, JOB)).toEqual({});
    expect(bodyOf({ ...before, cron_expression: ' 0 */2 * * * ', limit: '1000' }, before, JOB)).toEqual({
      cron_expression: '0 */2 * * *',
    });
  });

  it('keeps the filters that are not edited here', () => {
    expect(bodyOf({ ...before, city: [], tags: ['vip'] }, before, JOB)).toEqual({
      filters: { min_list_price: '100000', tags: ['vip'] },
    });
  });
});

it('runs overlap when they take longer than the time between two', () => {
  const runs = [{ at: '2026-01-01T00:00:00Z' }, { at: '2026-01-01T01:00:00Z' }];
  expect(overlaps(runs, 3_600_001)).toBe(true);
  expect(overlaps(runs, 3_600_000)).toBe(false);
  expect(overlaps(runs, null)).toBe(false);
});

it('cron is said in words, or not at all', () => {
  expect(sentence('0 */2 * * *')).toBe('Every 2 hours');
  expect(sentence('30 8 * * 1-5')).toBe('At 08:30 AM, Monday through Friday');
  expect(sentence('never')).toBeNull();
});

describe('the editor', () => {
  it('names the field of a cron expression that is wrong, and does not save it', async () => {
    const { asked } = playing({
      'GET /api/me': ME,
      'GET /api/schedule/preview': (request: Request) =>
        new URL(request.url).searchParams.get('cron')?.startsWith('61')
          ? { ...PREVIEW, valid: false, error: { field: 'minute', reason: '61 is not from 0 to 59' } }
          : PREVIEW,
    });
    shown(<ScheduleEditor job={JOB} />);
    await userEvent.click(screen.getByLabelText('Cron'));
    const input = screen.getByLabelText(/Cron expression/);
    await userEvent.clear(input);
    await userEvent.type(input, '61 * * * *');

    await screen.findAllByText(/minute: 61 is not from 0 to 59/);
    await userEvent.click(await screen.findByRole('button', { name: 'Save schedule' }));
    expect(asked.filter((request) => request.method === 'PUT')).toEqual([]);
  });

  it('shows both versions when somebody else was quicker, and sends either', async () => {
    let refuse = true;
    const { asked } = playing({
      'GET /api/me': ME,
      'GET /api/schedule/preview': PREVIEW,
      'PUT /active-properties-config': () =>
        refuse
          ? Response.json({ code: 'version_mismatch', title: 'Changed meanwhile', status: 412 }, { status: 412 })
          : { exists: true, job: { ...JOB, version: 5 }, updated_fields: [] },
    });
    const page = shown(<ScheduleEditor job={JOB} />);
    await userEvent.click(screen.getByLabelText('Cron'));
    const input = screen.getByLabelText(/Cron expression/);
    await userEvent.clear(input);
    await userEvent.type(input, '0 */2 * * *');
    await userEvent.click(screen.getByRole('button', { name: 'Save schedule' }));

    const alert = await screen.findByRole('alert');
    expect(alert).toHaveTextContent('Somebody else has changed the schedule');
    expect(asked.find((request) => request.method === 'PUT')?.headers.get('If-Match')).toBe('"3"');
    expect(page.container.querySelector('input[value="0 */2 * * *"]')).not.toBeNull();

    refuse = false;
    await userEvent.click(screen.getByRole('button', { name: 'Save yours over it' }));
    await waitFor(() => expect(screen.queryByRole('alert')).toBeNull());
  });
});
