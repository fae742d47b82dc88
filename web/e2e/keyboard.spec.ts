/** Everything by the keyboard alone: no test of this file touches the mouse. */
import type { Page } from '@playwright/test';
import { expect, open, test } from './world';

/** What controls are called, each by its own label, by a label of the form, or by its text. Runs in the page. */
function named(controls: Element[]): string[] {
  return controls.map((one) => {
    const { labels } = one as HTMLInputElement;
    const label = labels?.length ? labels[0]?.innerText : (one as HTMLElement).innerText;
    return (one.getAttribute('aria-label') ?? label ?? '').trim();
  });
}

/**
 * Presses Tab until what is focused has this name; not at all where it is focused already. Waits for a control of that
 * name first: nobody presses Tab towards what is not shown yet.
 */
async function tabTo(page: Page, name: string | RegExp, most = 60): Promise<void> {
  const isIt = (told: string) => (typeof name === 'string' ? told === name : name.test(told));
  const isAmong = async (selector: string) => (await page.locator(selector).evaluateAll(named)).some(isIt);
  await expect
    .poll(() => isAmong('a[href], button, input, textarea, [tabindex]'), { message: `a control named ${name}` })
    .toBe(true);
  for (let presses = 0; presses <= most; presses += 1) {
    if (await isAmong(':focus')) return;
    await page.keyboard.press('Tab');
  }
  throw new Error(`Tab does not lead to ${name}`);
}

/** Goes down the menu that has been opened to the item of this name, and chooses it. */
async function choose(page: Page, item: string): Promise<void> {
  const wanted = page.getByRole('menuitem', { name: item });
  await expect(wanted).toBeVisible();
  await expect(async () => {
    await page.keyboard.press('ArrowDown');
    await expect(wanted).toBeFocused({ timeout: 200 });
  }).toPass({ timeout: 5_000, intervals: [50] });
  await page.keyboard.press('Enter');
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
  await expect(page.getByRole('textbox', { name: 'Search or jump to' })).toBeFocused();
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
  await choose(page, 'Unlink, keep the values');
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
  await expect(page.getByText('The schedule is on.').first()).toBeVisible();
  await tabTo(page, 'Pause');
  await page.keyboard.press('Enter');
  await choose(page, 'For an hour');
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

test('a run is stopped, and what failed is read again', async ({ page, world }) => {
  await world.linked('stop-1', '06911');
  await world.linked('stop-2', '06912');
  world.mls.broken.add('06912');
  await world.run();
  world.mls.broken.clear();
  await page.goto('/runs?show=problems');
  await expect(page.getByRole('row', { name: /Partly done/ }).first()).toBeVisible();
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { level: 1 })).toContainText('Run #');
  await tabTo(page, /^Retry 1 failed location/);
  await page.keyboard.press('Enter');
  await expect(page.getByText(/reads again what failed in/)).toBeVisible();
  await expect(page.getByText('Succeeded').first()).toBeVisible({ timeout: 30_000 });

  world.mls.hold();
  await world.service.ask('POST', '/api/active-properties/run');
  await page.goto('/rescraping');
  await tabTo(page, 'Stop after this page');
  await page.keyboard.press('Enter');
  await expect(page.getByText(/stops after the page under way/)).toBeVisible();
  world.mls.release();
  await expect(page.getByRole('row', { name: /Cancelled/ }).first()).toBeVisible({ timeout: 30_000 });
});

test('the tabs of a run, and the filters of lists', async ({ page, world }) => {
  await world.linked('tabs-1', '06921');
  const { run_id } = await world.run();
  await page.goto(`/runs/${run_id}`);
  await tabTo(page, 'Locations');
  for (const tab of ['changes', 'errors', 'log', 'configuration']) {
    await page.keyboard.press('ArrowRight');
    await expect(page).toHaveURL(new RegExp(`tab=${tab}`));
  }
  await page.goto('/runs');
  await tabTo(page, 'All');
  await page.keyboard.press('ArrowRight');
  await expect(page).toHaveURL(/show=problems/);
  await page.goto('/properties');
  await expect(page.getByRole('link', { name: /tabs-1/ })).toBeVisible();
  await tabTo(page, 'Show');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/show=not_linked|show=linked/);
});

test('cron is typed, and of two versions one is chosen', async ({ page, world }) => {
  await world.service.ask('PUT', '/active-properties-config', { cron_expression: '0 * * * *', limit: 1000 });
  await page.goto('/rescraping');
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  await tabTo(page, 'Simple');
  await page.keyboard.press('ArrowRight');
  await tabTo(page, /^Cron expression/);
  await page.keyboard.press('Control+a');
  await page.keyboard.type('15 */3 * * *');
  await world.service.ask('PUT', '/active-properties-config', { limit: 900 });
  await tabTo(page, 'Save schedule');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('table', { name: 'Both versions' })).toBeVisible();
  await tabTo(page, 'Save yours over it');
  await page.keyboard.press('Enter');
  await expect(page.getByText('Saved.')).toBeVisible();
  const { job } = await world.service.ask<{ job: { cron_expression: string } }>('GET', '/active-properties-config');
  expect(job.cron_expression).toBe('15 */3 * * *');
});

test('what the CRM keeps is edited, and a link is moved', async ({ page, world }) => {
  const id = await world.linked('move-1', '06931');
  await world.linked('move-2', '06931');
  await page.goto(`/properties/${id}`);
  await tabTo(page, 'Edit');
  await page.keyboard.press('Enter');
  await tabTo(page, 'Notes');
  await page.keyboard.type('By hand.');
  await tabTo(page, 'Save');
  await page.keyboard.press('Enter');
  await expect(page.getByText('By hand.', { exact: true })).toBeVisible();

  await page.reload();
  await tabTo(page, 'Link');
  await page.keyboard.press('Enter');
  await choose(page, 'Move to another listing…');
  await expect(page.getByText('Move the link to another listing')).toBeVisible();
  await page.keyboard.press('/');
  await page.keyboard.type('move-2');
  await expect(page.getByRole('list', { name: 'Listings found' })).toContainText('move-2 Harbor Street');
  await tabTo(page, 'Link', 5);
  await page.keyboard.press('Enter');
  await expect(page.getByText('Linked to MLS MLS-move-2')).toBeVisible();
});

test('a table is imported', async ({ page }) => {
  await page.goto('/properties');
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  await tabTo(page, 'Import CSV');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('dialog')).toBeVisible();
  const chooser = page.waitForEvent('filechooser');
  await tabTo(page, 'CSV file', 8);
  await page.keyboard.press('Enter');
  const table = Buffer.from('id,notes\nkeyed-1,x\n');
  await (await chooser).setFiles({ name: 'crm.csv', mimeType: 'text/csv', buffer: table });
  await tabTo(page, 'Import 1 row', 10);
  await page.keyboard.press('Enter');
  await expect(page.getByText('Imported')).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('link', { name: 'keyed-1' })).toBeVisible();
});

test('a source is connected, checked and taken away, a key made and revoked', async ({ page, world }) => {
  await page.goto('/settings');
  await expect(page.getByRole('listitem').first()).toBeVisible();
  await tabTo(page, 'Connect a source');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('dialog')).toBeVisible();
  await tabTo(page, 'Kind', 14);
  await page.keyboard.type('plain');
  for (let steps = 0; steps < 6; steps += 1) {
    await page.keyboard.press('ArrowDown');
    const chosen = page.getByRole('option', { name: /plain paged service/ });
    if ((await chosen.getAttribute('data-combobox-selected')) !== null) break;
  }
  await page.keyboard.press('Enter');
  await tabTo(page, /^Name/, 6);
  await page.keyboard.type('keyed');
  await tabTo(page, /^Url/, 6);
  await page.keyboard.type(world.mls.address);
  await tabTo(page, 'Connect', 8);
  await page.keyboard.press('Enter');
  await expect(page.getByRole('dialog')).toBeHidden();
  await expect(page.getByRole('button', { name: 'More of keyed' })).toBeVisible();
  await tabTo(page, 'More of keyed', 12);
  await page.keyboard.press('Shift+Tab');
  await page.keyboard.press('Enter');
  await expect(page.getByText('It can be read')).toBeVisible();
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await choose(page, 'Take it away…');
  await tabTo(page, 'Take it away', 12);
  await page.keyboard.press('Enter');
  await expect(page.getByRole('listitem').filter({ hasText: 'keyed' })).toBeHidden();

  await page.goto('/settings?tab=keys');
  await tabTo(page, 'Make a key');
  await page.keyboard.press('Enter');
  await tabTo(page, /^Name/, 14);
  await page.keyboard.type('keyed key');
  await tabTo(page, 'Make', 14);
  await page.keyboard.press('Enter');
  await expect(page.getByText('The key keyed key, shown this once')).toBeVisible();
  await tabTo(page, 'I have it');
  await page.keyboard.press('Enter');
  await tabTo(page, 'Revoke keyed key');
  await page.keyboard.press('Enter');
  await tabTo(page, 'Revoke for good');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('listitem').filter({ hasText: 'keyed key' })).toContainText('revoked');
});

test('every control of every page is reached by Tab', async ({ page, world }) => {
  test.setTimeout(180_000);
  const id = await world.linked('reach-1', '06941');
  await world.service.ask('POST', '/api/properties', { id: 'crm-reach-loose' });
  const { run_id } = await world.run();
  for (const path of [
    '/',
    '/rescraping',
    '/runs',
    `/runs/${run_id}`,
    `/runs/${run_id}?tab=log`,
    '/properties?q=reach',
    `/properties/${id}`,
    '/properties/crm-reach-loose',
    '/settings',
    '/settings?tab=keys',
  ]) {
    await open(page, path);
    // Of a group of radio buttons and of a list of tabs one is reached, and arrows lead to the others.
    const controls = await page.evaluate(() => {
      const wanted = 'a[href], button, input, textarea, [role="switch"], [role="listbox"][tabindex], [data-row]';
      const shown = [...document.querySelectorAll<HTMLElement>(wanted)].filter(
        (one) => one.checkVisibility({ visibilityProperty: true }) && !one.matches(':disabled, [role="option"]'),
      );
      const told = (one: HTMLElement) =>
        `${one.tagName} ${one.getAttribute('aria-label') ?? one.innerText ?? ''}`.slice(0, 60);
      const left: string[] = [];
      for (const one of shown) {
        const group = one.matches('input[type="radio"]') ? (one as HTMLInputElement).name : null;
        if (group !== null && !(one as HTMLInputElement).checked) continue;
        if (one.matches('[role="tab"][aria-selected="false"]')) continue;
        if (one.matches('[data-direction]')) continue; // steps a number, as the arrow keys do in its field
        one.dataset.wanted = told(one);
        left.push(one.dataset.wanted);
      }
      return left.length;
    });
    await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
    for (let presses = 0; presses < controls + 40; presses += 1) {
      await page.keyboard.press('Tab');
      await page.evaluate(() => {
        const one = document.activeElement as HTMLElement | null;
        if (one) delete one.dataset.wanted;
      });
    }
    const missed = await page.evaluate(() =>
      [...document.querySelectorAll<HTMLElement>('[data-wanted]')].map((one) => one.dataset.wanted),
    );
    expect(missed, path).toEqual([]);
  }
});
