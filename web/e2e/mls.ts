/** The outside world: an MLS that speaks the protocol of the source kind `fake`, and can be slow or broken. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Listing {
  ListingKey: string;
  PostalCode: string;
  [name: string]: unknown;
}

let clock = Date.parse('2026-03-01T12:00:00Z');

/** A listing in RESO names; each is newer than those made before. */
export function listing(key: string, zip: string, more: Record<string, unknown> = {}): Listing {
  clock += 60_000;
  return {
    ListingKey: key,
    ListingId: `MLS-${key}`,
    StandardStatus: 'Active',
    ListPrice: 500_000,
    UnparsedAddress: `${key} Harbor Street`,
    City: 'Fairhaven',
    StateOrProvince: 'CT',
    PostalCode: zip,
    BedroomsTotal: 3,
    BathroomsTotalInteger: 2,
    LivingArea: 1800,
    ListOfficeName: 'Harbor & Main Realty',
    PublicRemarks: 'Bright corner home.',
    ModificationTimestamp: new Date(clock).toISOString().replace('.000Z', 'Z'),
    ...more,
  };
}

export class Mls {
  readonly listings = new Map<string, Listing>();
  /** Milliseconds before each answer. */
  latency = 0;
  /** ZIPs whose pages answer 500. */
  readonly broken = new Set<string>();
  private opened: Promise<void> | null = null;
  private open = () => {};
  private server: Server | null = null;
  address = '';

  put(...some: Listing[]): void {
    for (const one of some) this.listings.set(one.ListingKey, one);
  }

  /** A listing says something else, a minute later. */
  change(key: string, more: Record<string, unknown>): void {
    const before = this.listings.get(key);
    if (before === undefined) throw new Error(`there is no listing ${key}`);
    clock += 60_000;
    const at = new Date(clock).toISOString().replace('.000Z', 'Z');
    this.listings.set(key, { ...before, ...more, ModificationTimestamp: at });
  }

  /** Answers nothing until `release`: what is to be seen during a run is not a matter of pace then. */
  hold(): void {
    this.opened = new Promise((done) => {
      this.open = done;
    });
  }

  release(): void {
    this.open();
    this.opened = null;
  }

  async start(): Promise<void> {
    this.server = createServer((request, response) => {
      setTimeout(async () => {
        await this.opened;
        const [status, body] = this.answer(new URL(request.url ?? '/', 'http://mls'));
        response.writeHead(status, { 'Content-Type': 'application/json' });
        response.end(JSON.stringify(body));
      }, this.latency);
    });
    await new Promise<void>((done) => this.server?.listen(0, '127.0.0.1', done));
    this.address = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.server?.closeAllConnections();
    await new Promise((done) => this.server?.close(done));
  }

  private answer(url: URL): [number, unknown] {
    const all = [...this.listings.values()];
    if (url.pathname === '/locations') return [200, { value: [...new Set(all.map((one) => one.PostalCode))].sort() }];
    if (url.pathname.startsWith('/listings/')) {
      const found = this.listings.get(decodeURIComponent(url.pathname.slice('/listings/'.length)));
      return found ? [200, found] : [404, { error: { code: 'not_found' } }];
    }
    const zip = url.searchParams.get('location') ?? '';
    if (this.broken.has(zip)) return [500, { error: { code: 'broken' } }];
    const after = url.searchParams.get('after') ?? '';
    const top = Number(url.searchParams.get('top') ?? 50);
    const there = all.filter((one) => one.PostalCode === zip).sort((a, b) => (a.ListingKey < b.ListingKey ? -1 : 1));
    const rest = there.filter((one) => one.ListingKey > after);
    const page = rest.slice(0, top);
    const last = page[page.length - 1];
    const more =
      rest.length > page.length && last
        ? { '@odata.nextLink': `${this.address}/listings?location=${zip}&top=${top}&after=${last.ListingKey}` }
        : {};
    return [200, { '@odata.count': there.length, value: page, ...more }];
  }
}
