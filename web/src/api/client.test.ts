import { beforeEach, describe, expect, it, vi } from 'vitest';
import { playing } from '@/testing';
import { api, got } from './client';
import { connection } from './connection';
import { setKey } from './key';
import { asProblem, forSupport, type Problem } from './problem';

async function refusal(asked: Promise<unknown>): Promise<Problem> {
  try {
    await asked;
  } catch (error) {
    return asProblem(error);
  }
  throw new Error('it was answered');
}

beforeEach(() => setKey(null));

describe('asking the service', () => {
  it('sends the key that the tab has, and no other', async () => {
    const { asked } = playing({ 'GET /api/me': { caller: 'key 1', local: false, scopes: [] } });
    await got(api.GET('/api/me', {}));
    setKey('mcs_x');
    await got(api.GET('/api/me', {}));
    expect(asked.map((request) => request.headers.get('Authorization'))).toEqual([null, 'Bearer mcs_x']);
  });

  it('throws what the service said, with its request', async () => {
    const said = { code: 'listing_not_found', title: 'There is no such listing', request_id: 'r1', hint: 'look' };
    playing({ 'GET /api/me': () => Response.json(said, { status: 404 }) });
    const problem = await refusal(got(api.GET('/api/me', {})));
    expect([problem.status, problem.body.code, problem.isAway]).toEqual([404, 'listing_not_found', false]);
    expect(forSupport(problem)).toContain('request r1');
  });

  it('makes a problem of an answer that is none of ours', async () => {
    playing({ 'GET /api/me': () => new Response('<html>', { status: 502, headers: { 'Content-Type': 'text/html' } }) });
    const problem = await refusal(got(api.GET('/api/me', {})));
    expect([problem.status, problem.isAway]).toEqual([502, true]);
  });
});

describe('the connection', () => {
  it('is lost after three silences and comes back with the first answer', async () => {
    playing({ 'GET /api/me': {} });
    await got(api.GET('/api/me', {}));
    const silent = () => vi.stubGlobal('fetch', () => Promise.reject(new TypeError('Failed to fetch')));
    silent();
    const standings: string[] = [];
    for (let time = 0; time < 3; time += 1) {
      const problem = await refusal(got(api.GET('/api/me', {})));
      expect(problem.body.code).toBe('unreachable');
      standings.push(connection().standing);
    }
    expect(standings).toEqual(['reconnecting', 'reconnecting', 'offline']);

    playing({ 'GET /api/me': {} });
    await got(api.GET('/api/me', {}));
    expect(connection().standing).toBe('polling');
  });
});
