import { expect, SOURCE, test } from './world';

test('a source is connected, checked, edited and taken away', async ({ page, world }) => {
  await page.goto('/settings');
  await page.getByRole('button', { name: 'Connect a source' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('combobox', { name: 'Kind' }).click();
  await page.getByRole('option', { name: /plain paged service/ }).click();
  await dialog.getByLabel('Name').fill('second');
  await dialog.getByLabel('Url').fill('not an address');
  await dialog.getByRole('button', { name: 'Connect' }).click();
  await expect(dialog.locator('.mantine-InputWrapper-error')).toBeVisible();
  await dialog.getByLabel('Url').fill(world.mls.address);
  await dialog.getByRole('button', { name: 'Connect' }).click();
  await expect(dialog).toBeHidden();

  const row = page.getByRole('listitem').filter({ hasText: 'second' });
  await row.getByRole('button', { name: 'Check' }).click();
  await expect(row.getByText('It can be read')).toBeVisible();

  await row.getByRole('button', { name: 'More of second' }).click();
  await page.getByRole('menuitem', { name: 'Edit' }).click();
  await page.getByRole('dialog').getByLabel('Page size').fill('9');
  await page.getByRole('dialog').getByRole('button', { name: 'Save' }).click();
  await expect(row).toContainText('page size 9');

  await row.getByRole('button', { name: 'More of second' }).click();
  await page.getByRole('menuitem', { name: 'Take it away' }).click();
  await row.getByRole('button', { name: 'Take it away' }).click();
  await expect(row).toBeHidden();
  const left = await world.service.ask<{ items: { name: string }[] }>('GET', '/api/sources');
  expect(left.items.map(({ name }) => name)).toEqual([SOURCE]);
});

test('a key is made, shown once, and revoked', async ({ page, world }) => {
  await page.goto('/settings?tab=keys');
  await page.getByRole('button', { name: 'Make a key' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Name').fill('crm bridge');
  await dialog.getByLabel('write:crm').check();
  await dialog.getByRole('button', { name: 'Make' }).click();

  const shown = page.getByRole('alert').filter({ hasText: 'shown this once' });
  const key = await shown.locator('code').innerText();
  expect(key).toMatch(/^mcs_/);
  const me = await fetch(`${world.service.address}/api/me`, { headers: { Authorization: `Bearer ${key}` } });
  expect(((await me.json()) as { scopes: string[] }).scopes).toEqual(['read', 'write:crm']);
  await shown.getByRole('button', { name: 'I have it' }).click();
  await expect(page.getByText(key)).toHaveCount(0);

  await page.getByRole('button', { name: 'Revoke crm bridge' }).click();
  await page.getByRole('button', { name: 'Revoke for good' }).click();
  await expect(page.getByRole('listitem').filter({ hasText: 'crm bridge' })).toContainText('revoked');
  const again = await fetch(`${world.service.address}/api/me`, { headers: { Authorization: `Bearer ${key}` } });
  expect(again.status).toBe(401);
});
