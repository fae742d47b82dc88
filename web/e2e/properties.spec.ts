import { listing } from './mls';
import { expect, SOURCE, test } from './world';

test('a property is linked by search, brought in step, and unlinked', async ({ page, world }) => {
  const told = listing('link-1', '06701', { UnparsedAddress: '12 Wharf Lane', ListPrice: 612_000 });
  world.mls.put(told);
  await world.service.ask('POST', '/api/mls-properties', { source: SOURCE, location: '06701', listings: [told] });
  await world.service.ask('POST', '/api/properties', {
    id: 'crm-link',
    crm_status: 'active',
    own: { City: 'Old Town' },
  });

  await page.goto('/properties/crm-link');
  await page.getByLabel('Listing', { exact: true }).fill('Wharf');
  const found = page.getByRole('list', { name: 'Listings found' });
  await expect(found).toContainText('12 Wharf Lane');
  await expect(found).toContainText('Courtesy of Harbor & Main Realty');
  await found.getByRole('button', { name: 'Link' }).click();

  await expect(page.getByRole('heading', { level: 1 })).toContainText('12 Wharf Lane');
  const price = page.getByRole('row', { name: /List price/ });
  await expect(price).toContainText('$612,000');
  await expect(page.getByText('Linked to MLS MLS-link-1')).toBeVisible();
  await expect(page.getByRole('row', { name: /^City/ })).toContainText("the CRM's own: Old Town");

  world.mls.change('link-1', { ListPrice: 599_000 });
  await page.getByRole('button', { name: 'Sync from MLS' }).click();
  await expect(price).toContainText('$599,000');
  await expect(page.getByText('−$13,000 (−2.1%)')).toBeVisible();

  await page.getByRole('button', { name: 'Link', exact: true }).click();
  await page.getByRole('menuitem', { name: 'Unlink, keep the values' }).click();
  await expect(page.getByText('The values stand as they were when the link was cut')).toBeVisible();
  await expect(price).toContainText('$599,000');
  await page.getByRole('button', { name: 'Undo' }).last().click();
  await expect(page.getByText('Linked to MLS MLS-link-1')).toBeVisible();
});

test('a price that changes at the MLS is seen without loading anew, in the list, on its page and in the overview', async ({
  page,
  context,
  world,
}) => {
  const id = await world.linked('live-1', '06702');
  await world.run();
  const [list, overview] = [await context.newPage(), await context.newPage()];
  await page.goto(`/properties/${id}`);
  await list.goto('/properties?q=live-1');
  await overview.goto('/');
  await expect(list.getByRole('row', { name: /live-1/ })).toContainText('$500,000');

  world.mls.change('live-1', { ListPrice: 471_000 });
  await world.run();

  await expect(page.getByRole('row', { name: /List price/ })).toContainText('$471,000', { timeout: 20_000 });
  await expect(list.getByRole('row', { name: /live-1/ })).toContainText('−$29,000 (−5.8%)', { timeout: 20_000 });
  await expect(overview.getByRole('listitem').filter({ hasText: 'live-1' }).first()).toContainText('$471,000', {
    timeout: 20_000,
  });
});

test('what belongs to the CRM is edited beside the listing, and a stale edit is refused', async ({ page, world }) => {
  const id = await world.linked('edit-1', '06703');
  await page.goto(`/properties/${id}`);
  await page.getByRole('button', { name: 'Edit' }).click();
  await page.getByLabel('Notes').fill('Lockbox at the side gate.');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByText('Lockbox at the side gate.')).toBeVisible();

  await page.getByRole('button', { name: 'Edit' }).click();
  await page.getByLabel('Notes').fill('Mine.');
  await world.service.ask('PATCH', `/api/properties/${id}`, { notes: 'Theirs.' });
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByText('Somebody else has changed it meanwhile.')).toBeVisible();
  expect((await world.service.ask<{ notes: string }>('GET', `/api/properties/${id}`)).notes).toBe('Theirs.');
});

test('a CSV with errors is looked at first, and imports what is right', async ({ page, world }) => {
  await page.goto('/properties');
  await page.getByRole('button', { name: 'Import CSV' }).click();
  const dialog = page.getByRole('dialog', { name: 'Import CRM properties' });
  const table = 'id,notes,ListPrice\ncsv-1,new,500000\n,nobody,1\ncsv-2,odd price,about a million\ncsv-3,fine,\n';
  await dialog
    .locator('input[type=file]')
    .setInputFiles({ name: 'crm.csv', mimeType: 'text/csv', buffer: Buffer.from(table) });

  await expect(dialog.getByText('What would come of it', { exact: true })).toBeVisible();
  await expect(dialog.getByText(/2 new properties, 0 changed, 0 as they were; 2 rows cannot be taken/)).toBeVisible();
  const wrong = dialog.getByRole('table', { name: 'Rows that cannot be taken' });
  await expect(wrong.getByRole('row').nth(1)).toContainText('3');
  await expect(wrong.getByRole('row').nth(2)).toContainText('csv-2');
  await expect(wrong.getByRole('row').nth(2)).toContainText('ListPrice');
  const before = await world.service.ask<{ items: unknown[] }>('GET', '/api/properties?q=csv-');
  expect(before.items).toEqual([]);

  await dialog.getByRole('button', { name: 'Import 2 rows' }).click();
  await expect(dialog.getByText('Imported')).toBeVisible();
  const after = await world.service.ask<{ items: { id: string }[] }>('GET', '/api/properties?q=csv-');
  expect(after.items.map(({ id }) => id)).toEqual(['csv-1', 'csv-3']);
  await dialog.getByRole('button', { name: 'Close' }).last().click();
  await expect(page.getByRole('link', { name: 'csv-1' })).toBeVisible();
});

test('a file that is no table is refused whole, with what is wrong', async ({ page }) => {
  await page.goto('/properties?import=true');
  const dialog = page.getByRole('dialog', { name: 'Import CRM properties' });
  await dialog
    .locator('input[type=file]')
    .setInputFiles({ name: 'x.csv', mimeType: 'text/csv', buffer: Buffer.from('name,notes\na,b\n') });
  await expect(dialog.getByRole('alert')).toContainText('id');
});

test('remarks with markup, script, right-to-left text and 500 emoji show as text', async ({ page, world }) => {
  const nasty = `<script>document.title='taken'</script><img src="//elsewhere.test/x.png" onerror="document.title='taken'">${'בית יפה ‮מטבח‬'}${'🏡'.repeat(500)}`;
  const id = await world.linked('nasty', '06704', { PublicRemarks: nasty, UnparsedAddress: '<b>1</b> Nasty Street' });
  await page.goto(`/properties/${id}`);
  await expect(page.getByRole('heading', { level: 1 })).toContainText('<b>1</b> Nasty Street');
  await page.getByRole('button', { name: 'All of it' }).first().click();
  await expect(page.getByRole('row', { name: /^Remarks/ })).toContainText("<script>document.title='taken'</script>");
  await expect(page.locator('main script, main img')).toHaveCount(0);
  await expect(page).toHaveTitle(/Nasty Street/);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  expect(wide).toBeLessThanOrEqual(0);
});

test('filters live in the address and narrow the list', async ({ page, world }) => {
  await world.linked('filter-a', '06705', { City: 'Stony Point', StandardStatus: 'Pending' });
  await world.service.ask('POST', '/api/properties', { id: 'filter-b', own: { City: 'Stony Point' } });
  await page.goto('/properties');
  await page.getByRole('searchbox', { name: 'City' }).fill('stony point');
  await expect(page).toHaveURL(/city=stony/);
  await expect(page.getByRole('status').filter({ hasText: '2 properties' })).toBeVisible();
  await page.getByRole('combobox', { name: 'Show' }).click();
  await page.getByRole('option', { name: 'Not linked' }).click();
  await expect(page.getByRole('link', { name: 'filter-b' })).toBeVisible();
  await expect(page.getByText('1 property')).toBeVisible();
  await page.reload();
  await expect(page.getByText('1 property')).toBeVisible();
  await page.getByRole('button', { name: 'Clear' }).click();
  await expect(page).toHaveURL(/\/properties$/);
});
