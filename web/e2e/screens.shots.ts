/** Pictures of every page for docs/screens, over a scene with something of everything. `make screenshots` */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from '@playwright/test';
import { listing } from './mls';
import { expect, test, type World } from './world';

const FOLDER = join(import.meta.dirname, '..', '..', 'docs', 'screens');
const STREETS = [
  'Harbor Street',
  'Mill Road',
  'Orchard Lane',
  'Chestnut Street',
  'Park Avenue',
  'Bay Place',
  'Kinney Avenue',
];
const TOWNS = [
  ['Fairhaven', '06501'],
  ['Millbrook', '06502'],
  ['Stony Point', '06503'],
  ['Cedar Park', '06504'],
  ['Round Hill', '06505'],
  ['Kyle', '06506'],
] as const;
const OFFICES = ['Harbor & Main Realty', 'Lindqvist Homes', 'Millbrook Brokers'];
const STATUSES = ['Active', 'Active', 'Active', 'Active Under Contract', 'Pending', 'Coming Soon'];
const LATENCY = 3_000;

function home(place: number): { key: string; zip: string; more: Record<string, unknown> } {
  const [town, zip] = TOWNS[place % TOWNS.length] ?? TOWNS[0];
  return {
    key: `H${String(100 + place)}`,
    zip,
    more: {
      ListingId: String(8_841_200 + place),
      UnparsedAddress: `${12 + ((place * 37) % 220)} ${STREETS[place % STREETS.length]}`,
      City: town,
      StateOrProvince: 'CT',
      ListPrice: 385_000 + ((place * 61) % 90) * 10_000,
      StandardStatus: STATUSES[place % STATUSES.length],
      ListOfficeName: OFFICES[place % OFFICES.length],
      LotSizeAcres: 0.21,
      YearBuilt: 1960 + (place % 60),
      Cooling: ['Central Air', 'Ductless'],
      ListingContractDate: '2026-08-04',
    },
  };
}

/** Properties, runs of every kind, an override that the MLS has changed under, and a listing that nobody linked. */
async function scene({ mls, service, linked, run }: World): Promise<{ id: string; runId: number }> {
  for (let place = 0; place < 42; place += 1) {
    const { key, zip, more } = home(place);
    await linked(key, zip, more);
  }
  const id = 'crm-H100';
  await service.ask('PATCH', `/api/properties/${id}`, {
    notes: 'Lockbox moved to the side gate.\nSeller agreed to hold the price until Friday.',
    tags: ['vip', 'waterfront'],
    assigned_agent: 'Dana Levy',
    own: { City: 'Fair Haven' },
  });
  for (let round = 0; round < 9; round += 1) {
    for (let place = 0; place < 4; place += 1) {
      const { key } = home((round * 5 + place * 3) % 42);
      const now = Number(mls.listings.get(key)?.ListPrice ?? 0);
      mls.change(key, { ListPrice: now - 4_000 - place * 3_000 });
    }
    if (round < 5) mls.change('H100', { ListPrice: Number(mls.listings.get('H100')?.ListPrice) - 6_000 });
    if (round === 3) mls.broken.add('06504');
    await run();
    mls.broken.clear();
  }
  await service.ask('PATCH', `/api/properties/${id}`, {
    overrides: { ListPrice: 395_000 },
    reason: 'seller agreed to hold price',
  });
  mls.change('H100', {
    ListPrice: Number(mls.listings.get('H100')?.ListPrice) - 7_000,
    StandardStatus: 'Active Under Contract',
  });
  mls.broken.add('06506');
  const partial = await run();
  mls.broken.clear();
  mls.put(listing('H900', '06501', { UnparsedAddress: '14 Kinney Avenue', ListPrice: 512_000, ListingId: '8842900' }));
  await run();
  await service.ask('POST', '/api/properties', {
    id: 'crm-open-house',
    crm_status: 'active',
    own: {
      UnparsedAddress: '14 Kinney Avenue',
      City: 'Fairhaven',
      StateOrProvince: 'CT',
      PostalCode: '06501',
      ListPrice: '520000',
    },
  });
  await service.ask('POST', '/api/keys', { name: 'crm bridge', scopes: ['read', 'write:crm', 'write:links'] });
  return { id, runId: partial.run_id };
}

const looks = [
  { name: 'light', colorScheme: 'light', viewport: { width: 1360, height: 900 } },
  { name: 'dark', colorScheme: 'dark', viewport: { width: 1360, height: 900 } },
  { name: 'phone', colorScheme: 'light', viewport: { width: 390, height: 844 } },
] as const;

/** As high as the page is, so that the menu beside it is whole too. */
async function shoot(page: Page, name: string, whole = true): Promise<void> {
  const size = page.viewportSize();
  await page.waitForLoadState('networkidle');
  await page.waitForTimeout(500);
  if (whole && size) {
    const height = await page.evaluate(() => document.documentElement.scrollHeight);
    await page.setViewportSize({ width: size.width, height: Math.max(size.height, height) });
  }
  await page.waitForTimeout(500);
  await page.screenshot({ path: join(FOLDER, `${name}.png`), animations: 'disabled' });
  if (size) await page.setViewportSize(size);
}

test('every page, light, dark and on a phone', async ({ browser, world }) => {
  test.setTimeout(300_000);
  mkdirSync(FOLDER, { recursive: true });
  const { id, runId } = await scene(world);
  for (const { name, colorScheme, viewport } of looks) {
    const context = await browser.newContext({
      colorScheme,
      viewport,
      baseURL: world.service.address,
      timezoneId: 'America/New_York',
      locale: 'en-US',
    });
    const page = await context.newPage();
    const pages: [string, string][] = [
      ['overview', '/'],
      ['runs', '/runs'],
      ['run', `/runs/${runId}?tab=errors`],
      ['properties', '/properties'],
      ['property', `/properties/${id}`],
      ['link', '/properties/crm-open-house'],
      ['settings', '/settings'],
      ['keys', '/settings?tab=keys'],
      ['import', '/properties?import=true'],
    ];
    for (const [what, path] of pages) {
      await page.goto(path);
      await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
      if (what === 'import') {
        await page.locator('input[type=file]').setInputFiles({
          name: 'crm.csv',
          mimeType: 'text/csv',
          buffer: Buffer.from('id,notes,ListPrice\ncsv-1,new,500000\n,nobody,1\ncsv-2,odd price,about a million\n'),
        });
        await expect(page.getByText('What would come of it', { exact: true })).toBeVisible();
      }
      await shoot(page, `${what}-${name}`, !['properties', 'import'].includes(what));
    }
    world.mls.latency = LATENCY;
    await world.service.ask('POST', '/api/active-properties/run');
    await page.goto('/rescraping');
    await expect(page.getByRole('region', { name: 'The run under way' })).toContainText(/[1-9] of \d/, {
      timeout: 30_000,
    });
    await shoot(page, `rescraping-${name}`);
    world.mls.latency = 0;
    await expect(page.getByRole('region', { name: 'The run under way' })).toBeHidden({ timeout: 60_000 });
    await context.close();
  }
});
