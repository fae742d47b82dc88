import { Service } from './service';
import { expect, test } from './world';

test('the service goes away and comes back: the page says so, keeps what it shows, and goes on', async ({
  page,
  world,
}) => {
  const id = await world.linked('away-1', '06801');
  await page.goto(`/properties/${id}`);
  const price = page.getByRole('row', { name: /List price/ });
  await expect(price).toContainText('$500,000');

  await world.service.stop();
  const pill = page.getByRole('status').filter({ hasText: /Reconnecting|Offline/ });
  await expect(pill).toBeVisible({ timeout: 30_000 });
  await expect(page.getByText(/Offline/)).toBeVisible({ timeout: 60_000 });
  await expect(price).toContainText('$500,000');
  await expect(page.getByText(/As of/).first()).toBeVisible();
  const sync = page.getByRole('button', { name: 'Sync from MLS' });
  await expect(sync).toHaveAttribute('aria-disabled', 'true');
  await sync.hover();
  await expect(page.getByRole('tooltip')).toContainText('does not answer');

  await world.service.start();
  await expect(page.getByRole('status').filter({ hasText: 'Polling' })).toBeVisible({ timeout: 40_000 });
  await expect(sync).not.toHaveAttribute('aria-disabled', 'true');
  await world.service.ask('PATCH', `/api/properties/${id}`, { notes: 'written after it came back' });
  await expect(page.getByText('written after it came back')).toBeVisible({ timeout: 20_000 });
});

test.describe('where a key is asked for', () => {
  const locked = new Service(['--require-key', '--no-worker']);
  // biome-ignore lint/correctness/noEmptyPattern: the first argument is what a fixture uses of others
  test.use({ baseURL: async ({}, use) => use(locked.address) });
  test.beforeAll(async () => locked.start());
  test.afterAll(async () => {
    await locked.stop();
    locked.forget();
  });

  test('a wrong key is refused, a right one is kept for the tab, and a reading one changes nothing', async ({
    page,
  }) => {
    const made = await locked.ask<{ key: string }>('POST', '/api/keys', { name: 'reader', scopes: ['read'] });
    await page.goto('/rescraping');
    await page.getByLabel(/^API key/).fill('mcs_wrong');
    await page.getByRole('button', { name: 'Go on' }).click();
    await expect(page.getByText('There is no such key, or it was revoked.')).toBeVisible();

    await page.getByLabel(/^API key/).fill(made.key);
    await page.getByRole('button', { name: 'Go on' }).click();
    await expect(page.getByRole('heading', { name: 'Active properties re-scraping' })).toBeVisible();
    await expect(page.getByRole('button', { name: 'Run now' })).toHaveAttribute('aria-disabled', 'true');
    await expect(page.getByRole('switch')).toBeDisabled();
    await page.getByRole('button', { name: 'Run now' }).hover();
    await expect(page.getByRole('tooltip')).toContainText('scope run');
    await page.goto('/settings');
    await expect(page.getByRole('tab', { name: 'API keys' })).toHaveCount(0);

    await page.reload();
    await expect(page.getByRole('heading', { name: 'Settings' })).toBeVisible();
    await page.getByRole('button', { name: /Time zone/ }).click();
    await page.getByRole('menuitem', { name: 'Forget the API key' }).click();
    await expect(page.getByLabel(/^API key/)).toBeVisible();
    const kept = await page.evaluate(() =>
      JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]),
    );
    expect(kept).not.toContain(made.key);
  });

  test('it says what is missing: a worker, a source, the first property', async ({ page }) => {
    await page.goto('/');
    await page.getByLabel(/^API key/).fill(locked.adminKey);
    await page.getByRole('button', { name: 'Go on' }).click();
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('Nothing to keep in step yet');
    await expect(page.getByText('Three steps to the first property in step')).toBeVisible();
    await expect(page.getByText('no worker is seen, so nothing is read')).toBeVisible();
    await page.getByRole('link', { name: 'Connect a source' }).click();
    await expect(page).toHaveURL(/settings/);
  });
});
