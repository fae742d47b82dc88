import { describe, expect, it } from 'vitest';
import type { Schemas } from '@/api/client';
import { headline, reviews } from './Overview';

const NOTHING = {
  properties: 0,
  active_properties: 0,
  active_by_status: {},
  proposals: 0,
  held_listings: 0,
  quarantined: 0,
} as unknown as Schemas['Overview'];

describe('the headline', () => {
  it.each([
    [{}, 'Nothing to keep in step yet'],
    [{ properties: 3 }, 'No CRM property is active'],
    [
      { properties: 3, active_properties: 3, active_by_status: { not_linked: 3 } },
      'None of 3 active properties is linked',
    ],
    [{ properties: 1, active_properties: 1, active_by_status: { synced: 1 } }, 'All 1 linked property fresh'],
    [
      { properties: 412, active_properties: 412, active_by_status: { synced: 406, conflict: 6 } },
      'All 412 linked properties fresh; 6 need review',
    ],
    [
      {
        properties: 9,
        active_properties: 9,
        active_by_status: { synced: 5, stale: 2, gone: 1, not_linked: 1 },
        quarantined: 1,
      },
      '5 of 8 linked properties fresh; 1 needs review',
    ],
  ])('of %o is "%s"', (more, said) => expect(headline({ ...NOTHING, ...more } as Schemas['Overview'])).toBe(said));
});

it('only what waits for somebody is told', () => {
  expect(reviews({ ...NOTHING, proposals: 2 }).map((one) => [one.label, one.count])).toEqual([['Over or gone', 2]]);
});
