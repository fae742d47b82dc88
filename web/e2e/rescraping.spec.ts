import { listing } from './mls';
import { expect, SOURCE, test } from './world';

interface Config {
  job: { cron_expression: string; status: string; paused: boolean; limit: number; version: number };
}

test.beforeEach(async ({ world }) => {
  world.mls.latency = 0;
  world.mls.broken.clear();
  await world.service.ask('PUT', '/active-properties-config', {
    cron_expression: '0 * * * *',
    timezone: 'America/New_York',
    limit: 1000,
    request_delay: 0,
    priority: 'normal',
    filters: {},
  });
  await world.service.ask('POST', '/active-properties-config/toggle', { enabled: true });
  await world.service.ask('POST', '/api/scheduled-jobs/active_properties_rescraping/resume');
});

test('the schedule goes from hourly to every 2 hours, and the next five runs are seen', async ({ page, world }) => {
  await page.goto('/rescraping');
  await page.getByRole('combobox', { name: 'How often' }).click();
  await page.getByRole('option', { name: 'Every 2 hours' }).click();

  const next = page.getByRole('table', { name: 'Next 5 runs' });
  const told = await world.service.ask<{ next_runs: { at: string }[] }>(
    'GET',
    '/api/schedule/preview?cron=0%20*/2%20*%20*%20*&tz=America/New_York&n=5',
  );
  const shown = told.next_runs.map(({ at }) =>
    new Intl.DateTimeFormat('en-US', {
      timeZone: 'America/New_York',
      weekday: 'short',
      month: 'short',
      day: 'numeric',
      hour: 'numeric',
      minute: '2-digit',
      timeZoneName: 'short',
    }).format(new Date(at)),
  );
  for (const [place, text] of shown.entries()) await expect(next.getByRole('row').nth(place)).toContainText(text);
  await expect(page.getByText('How often: Every hour → Every 2 hours')).toBeVisible();

  await page.getByRole('button', { name: 'Save schedule' }).click();
  await expect(page.getByText('Saved. The next run follows the new schedule.')).toBeVisible();
  const { job } = await world.service.ask<Config>('GET', '/active-properties-config');
  expect(job.cron_expression).toBe('0 */2 * * *');
});

test('a cron expression with an error names its field and cannot be saved', async ({ page, world }) => {
  await page.goto('/rescraping');
  await page.getByText('Cron', { exact: true }).click();
  await page.getByLabel('Cron expression').fill('0 25 * * *');

  await expect(page.getByText(/hour: /).first()).toBeVisible();
  await expect(page.getByText('This schedule cannot run.')).toBeVisible();
  await expect(page.getByRole('button', { name: 'Save schedule' })).toHaveAttribute('aria-disabled', 'true');
  const { job } = await world.service.ask<Config>('GET', '/active-properties-config');
  expect(job.cron_expression).toBe('0 * * * *');

  await page.getByLabel('Cron expression').fill('30 8 * * 1-5');
  await expect(page.getByText('At 08:30 AM, Monday through Friday')).toBeVisible();
  await page.getByRole('button', { name: 'Discard' }).click();
  await expect(page.getByLabel('Cron expression')).toHaveValue('0 * * * *');
});

test('limit, delay, priority and filters are changed together', async ({ page, world }) => {
  await page.goto('/rescraping');
  await page.getByLabel('Listings per location').fill('250');
  await page.getByLabel('Delay between requests').fill('1.5');
  await page.getByRole('combobox', { name: 'Priority' }).click();
  await page.getByRole('option', { name: 'High' }).click();
  await page.getByRole('combobox', { name: 'City' }).fill('Fairhaven');
  await page.getByRole('combobox', { name: 'City' }).press('Enter');
  await page.getByRole('button', { name: 'Save schedule' }).click();

  await expect(page.getByText('Saved.')).toBeVisible();
  const { job } = await world.service.ask<{ job: Record<string, unknown> }>('GET', '/active-properties-config');
  expect(job).toMatchObject({ limit: 250, request_delay: 1.5, priority: 'high', filters: { city: ['fairhaven'] } });
});

test('the schedule is switched off, on, paused and resumed', async ({ page, world }) => {
  const job = async () => (await world.service.ask<Config>('GET', '/active-properties-config')).job;
  await page.goto('/rescraping');

  await page.getByRole('switch').click();
  await expect(page.getByText('Schedule off')).toBeVisible();
  await expect(page.getByText('no due time')).toBeVisible();
  expect((await job()).status).toBe('inactive');
  await page.getByRole('switch').click();
  await expect(page.getByText('Schedule on')).toBeVisible();
  expect((await job()).status).toBe('active');

  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('menuitem', { name: 'For 8 hours' }).click();
  const banner = page.getByRole('alert').filter({ hasText: 'By somebody' });
  await expect(banner).toContainText("By somebody at the service's machine");
  await expect(banner).toContainText('Until');
  expect((await job()).paused).toBe(true);
  await banner.getByRole('button', { name: 'Resume' }).click();
  await expect(banner).toBeHidden();
  expect((await job()).paused).toBe(false);
});

test('a run is started by hand, watched, and seen to its end', async ({ page, world }) => {
  for (const zip of ['06601', '06602', '06603', '06604', '06605', '06606', '06607', '06608']) {
    await world.linked(`watch-${zip}`, zip);
    world.mls.put(...Array.from({ length: 8 }, (_, place) => listing(`more-${zip}-${place}`, zip)));
  }
  await world.run();
  world.mls.change('watch-06601', { ListPrice: 480_000 });
  world.mls.latency = 500;
  await page.goto('/rescraping');
  await page.getByRole('button', { name: 'Run now' }).click();

  const live = page.getByRole('region', { name: 'The run under way' });
  await expect(live).toBeVisible();
  await expect(live).toContainText(/now .*0660/, { timeout: 20_000 });
  await expect(live).toContainText(/[1-9]\d* of \d+ locations/, { timeout: 30_000 });
  await expect(live).toBeHidden({ timeout: 40_000 });
  const newest = page.getByRole('row').filter({ hasText: 'manual' }).first();
  await expect(newest).toContainText('Succeeded');
  await expect(page.getByText('Healthy')).toBeVisible();

  await newest.getByRole('link').click();
  await page.getByRole('tab', { name: 'Changes' }).click();
  await expect(page.getByText('$500,000 → $480,000')).toBeVisible();
  await expect(page.getByRole('link', { name: 'crm-watch-06601' })).toBeVisible();
});

test('a partial run tells what failed, and its failed locations are read again', async ({ page, world }) => {
  await world.linked('part-a', '06611');
  await world.linked('part-b', '06612');
  world.mls.broken.add('06612');
  const { run_id, status } = await world.run();
  expect(status).toBe('partial');

  await page.goto(`/runs/${run_id}`);
  await expect(page.getByText('Partly done')).toBeVisible();
  await page.getByRole('tab', { name: /Errors/ }).click();
  await expect(page.getByRole('alert')).toContainText('06612');
  world.mls.broken.clear();
  await page.getByRole('button', { name: 'Retry failed locations' }).click();

  await expect(page.getByRole('heading', { level: 1 })).not.toHaveText(`Run #${run_id}`);
  await expect(page.getByText('Succeeded').first()).toBeVisible({ timeout: 30_000 });
  await expect(page.getByRole('link', { name: `run #${run_id}` })).toBeVisible();
  await page.getByRole('tab', { name: 'Locations' }).click();
  await expect(page.getByRole('cell', { name: new RegExp(`06612.*${SOURCE}`) })).toBeVisible();
  await expect(page.getByRole('cell', { name: /06611/ })).toHaveCount(0);
});

test('two people edit the schedule at once: both versions are shown, and one is chosen', async ({
  page,
  context,
  world,
}) => {
  const other = await context.newPage();
  await page.goto('/rescraping');
  await other.goto('/rescraping');
  await page.getByLabel('Listings per location').fill('300');
  await other.getByLabel('Listings per location').fill('700');
  await other.getByRole('button', { name: 'Save schedule' }).click();
  await expect(other.getByText('Saved.')).toBeVisible();

  await page.getByRole('button', { name: 'Save schedule' }).click();
  const both = page.getByRole('table', { name: 'Both versions' });
  await expect(both.getByRole('row').nth(1)).toHaveText(/Listings per location\s*700\s*300/);
  expect((await world.service.ask<Config>('GET', '/active-properties-config')).job.limit).toBe(700);

  await page.getByRole('button', { name: 'Save yours over it' }).click();
  await expect(both).toBeHidden();
  expect((await world.service.ask<Config>('GET', '/active-properties-config')).job.limit).toBe(300);
});

test('a switch put off and on again at once ends on, however slow the first answer', async ({ page, world }) => {
  await world.service.ask('POST', '/active-properties-config/toggle', { enabled: true });
  await page.goto('/rescraping');
  let asked = 0;
  await page.route('**/active-properties-config/toggle', async (route) => {
    asked += 1;
    if (asked === 1) await new Promise((done) => setTimeout(done, 1_000));
    await route.continue();
  });
  await page.getByRole('switch', { name: 'Schedule on' }).press('Space');
  await page.getByRole('switch', { name: 'Schedule off' }).press('Space');
  await expect(page.getByText('The schedule is off; nothing falls due.')).toBeVisible();
  await expect(page.getByText('The schedule is on.')).toBeVisible();
  await expect(page.getByRole('switch', { name: 'Schedule on' })).toBeChecked();
  const { job } = await world.service.ask<{ job: { status: string } }>('GET', '/active-properties-config');
  expect(job.status).toBe('active');
});
