/** What every test stands in: a service with its database and an MLS, one of each for a worker. */
import { test as base, expect, type Page } from '@playwright/test';
import { listing, Mls } from './mls';
import { Service } from './service';

export interface World {
  mls: Mls;
  service: Service;
  /** A CRM property linked to a listing of its own, both called `key`. */
  linked(key: string, zip: string, more?: Record<string, unknown>): Promise<string>;
  /** Runs what is scheduled now, and waits for its end. */
  run(): Promise<{ run_id: number; status: string }>;
}

export const SOURCE = 'harbor-mls';

async function made(service: Service, mls: Mls): Promise<World> {
  await service.ask('POST', '/api/sources', {
    name: SOURCE,
    kind: 'fake',
    settings: { url: mls.address, page_size: 5 },
    default: true,
  });
  await service.ask('PUT', '/active-properties-config', { cron_expression: '0 * * * *', request_delay: 0 });
  return {
    mls,
    service,
    async linked(key, zip, more = {}) {
      const told = listing(key, zip, more);
      mls.put(told);
      const pushed = await service.ask<{ items: { property_id: string }[] }>('POST', '/api/mls-properties', {
        source: SOURCE,
        location: zip,
        listings: [told],
      });
      const id = `crm-${key}`;
      await service.ask('POST', '/api/properties', { id, crm_status: 'active', own: { PostalCode: zip } });
      await service.ask('POST', `/api/properties/${id}/link-mls`, { mls_property_id: pushed.items[0]?.property_id });
      return id;
    },
    async run() {
      const { run_id } = await service.ask<{ run_id: number }>('POST', '/api/active-properties/run');
      await expect
        .poll(
          async () => (await service.ask<{ finished_at: string | null }>('GET', `/api/runs/${run_id}`)).finished_at,
          {
            timeout: 60_000,
          },
        )
        .not.toBeNull();
      return await service.ask('GET', `/api/runs/${run_id}`);
    },
  };
}

export const test = base.extend<{ onlyOurHost: undefined }, { world: World }>({
  world: [
    // biome-ignore lint/correctness/noEmptyPattern: the first argument is what a fixture uses of others
    async ({}, use) => {
      const [mls, service] = [new Mls(), new Service()];
      try {
        await mls.start();
        await service.start();
        await use(await made(service, mls));
      } finally {
        await service.stop();
        await mls.stop();
        service.forget();
      }
    },
    { scope: 'worker', timeout: 120_000 },
  ],
  baseURL: async ({ world }, use) => use(world.service.address),
  /** No test's page asks anybody but its service, and none has an error in its console but those of its answers. */
  onlyOurHost: [
    async ({ context, baseURL }, use) => {
      const elsewhere: string[] = [];
      const faults: string[] = [];
      context.on('request', (request) => {
        if (!request.url().startsWith(`${baseURL}/`) && !/^(data|blob):/.test(request.url()))
          elsewhere.push(request.url());
      });
      context.on('weberror', (error) => faults.push(error.error().message));
      context.on('console', (message) => {
        const isAnswer = /Failed to load resource|net::ERR/.test(message.text());
        if (['error', 'warning'].includes(message.type()) && !isAnswer) faults.push(message.text());
      });
      await use(undefined);
      expect(elsewhere, 'requests that left the host').toEqual([]);
      expect(faults, 'faults of the page').toEqual([]);
    },
    { auto: true },
  ],
});

export { expect };

/** Opens a page and waits until nothing more comes. */
export async function open(page: Page, path: string): Promise<void> {
  await page.goto(path);
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  await page.waitForLoadState('networkidle');
}
