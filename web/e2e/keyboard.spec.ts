/** Everything by the keyboard alone: no test of this file touches the mouse. */
import type { Page } from '@playwright/test';
import { expect, test } from './world';

/** Presses Tab until what is focused has this name. */
async function tabTo(page: Page, name: string | RegExp, most = 60): Promise<void> {
  for (let presses = 0; presses < most; presses += 1) {
    await page.keyboard.press('Tab');
    const focused = page.locator(':focus');
    if ((await focused.count()) === 0) continue;
    const told = await focused.evaluate((one) => {
      const labels = (one as HTMLInputElement).labels;
      return (
        one.getAttribute('aria-label') ?? (labels?.length ? labels[0]?.innerText : (one as HTMLElement).innerText) ?? ''
      );
    });
    if (typeof name === 'string' ? told.trim() === name : name.test(told)) return;
  }
  throw new Error(`Tab does not lead to ${name}`);
}

test('pages by g and a letter, the list of keys by ?, and the way past the menu', async ({ page }) => {
  await page.goto('/');
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  for (const [letter, url] of [
    ['r', '/rescraping'],
    ['u', '/runs'],
    ['p', '/properties'],
    ['s', '/settings'],
    ['o', '/'],
  ] as const) {
    await page.keyboard.press('g');
    await page.keyboard.press(letter);
    await expect(page).toHaveURL(new RegExp(`${url}$`));
  }
  await page.keyboard.press('?');
  await expect(page.getByRole('dialog', { name: 'Keyboard' })).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog')).toBeHidden();
  await page.reload();
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  await page.keyboard.press('Tab');
  await expect(page.locator(':focus')).toHaveText('Skip to the page');
  await page.keyboard.press('Enter');
  await expect(page.locator(':focus')).toHaveAttribute('id', 'page');
});

test('a property is found in the palette, opened, synced and unlinked', async ({ page, world }) => {
  await world.linked('keys-1', '06901', { UnparsedAddress: '77 Keyboard Court' });
  await page.goto('/');
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  await page.keyboard.press('Control+k');
  await page.keyboard.type('77 Keyboard');
  await expect(page.getByRole('button', { name: /77 Keyboard Court/ })).toBeVisible();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { level: 1 })).toContainText('77 Keyboard Court');

  await tabTo(page, 'Sync from MLS');
  await page.keyboard.press('Enter');
  await expect(page.getByText('In step already.')).toBeVisible();
  await page.keyboard.press('Shift+Tab');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('menuitem', { name: 'Unlink, keep the values' })).toBeVisible();
  await page.keyboard.press('ArrowDown');
  await expect(page.locator(':focus')).toHaveText(/Unlink/);
  await page.keyboard.press('Enter');
  await expect(page.getByText('Link it to its listing')).toBeVisible();
  await page.keyboard.press('/');
  await expect(page.locator(':focus')).toHaveAttribute('type', 'search');
  await page.keyboard.press('Control+a');
  await page.keyboard.type('77 Keyboard');
  await tabTo(page, 'Link', 5);
  await page.keyboard.press('Enter');
  await expect(page.getByText(/Linked to MLS/)).toBeVisible();
});

test('rows by j and k, opened by Enter', async ({ page, world }) => {
  await world.linked('rows-1', '06902');
  await world.linked('rows-2', '06902');
  await page.goto('/properties?q=rows-');
  await expect(page.getByRole('link', { name: 'rows-1 Harbor Street' })).toBeVisible();
  await page
    .locator('h1')
    .focus()
    .catch(() => null);
  await page.keyboard.press('j');
  await expect(page.locator(':focus')).toContainText('rows-2');
  await page.keyboard.press('j');
  await expect(page.locator(':focus')).toContainText('rows-1');
  await page.keyboard.press('k');
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/crm-rows-2/);
});

test('the schedule is changed, switched off, paused and run', async ({ page, world }) => {
  await world.linked('keys-2', '06903');
  await world.service.ask('POST', '/active-properties-config/toggle', { enabled: true });
  await world.service.ask('POST', '/api/scheduled-jobs/active_properties_rescraping/resume');
  await page.goto('/rescraping');
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();

  await tabTo(page, 'Schedule on');
  await page.keyboard.press('Space');
  await expect(page.getByText('Schedule off')).toBeVisible();
  await page.keyboard.press('Space');
  await expect(page.getByText('Schedule on')).toBeVisible();
  await tabTo(page, 'Pause');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('menuitem', { name: 'For an hour' })).toBeVisible();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('alert').filter({ hasText: 'By somebody' })).toBeVisible();
  await tabTo(page, 'Resume');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('alert').filter({ hasText: 'By somebody' })).toBeHidden();

  await page.reload();
  await tabTo(page, 'Run now');
  await page.keyboard.press('Enter');
  await expect(page.getByText(/waits for a worker|Healthy/).first()).toBeVisible();
  await expect(page.getByRole('row').filter({ hasText: 'manual' }).first()).toContainText('Succeeded', {
    timeout: 30_000,
  });

  await tabTo(page, /^Runs, oldest first/);
  await page.keyboard.press('ArrowLeft');
  await page.keyboard.press('End');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { level: 1 })).toContainText('Run #');
  await page.goBack();

  await tabTo(page, 'Listings per location');
  await page.keyboard.press('Control+a');
  await page.keyboard.type('420');
  await tabTo(page, 'Save schedule');
  await page.keyboard.press('Enter');
  await expect(page.getByText('Saved.')).toBeVisible();
  const { job } = await world.service.ask<{ job: { limit: number } }>('GET', '/active-properties-config');
  expect(job.limit).toBe(420);
});
