import { expect, it } from 'vitest';
import type { Schemas } from '@/api/client';
import { stepsOf, ticks } from './PriceCard';

function change(at: string, before: string | null, after: string | null, field = 'ListPrice'): Schemas['Change'] {
  return { change_id: 1, run_id: 1, at, type: 'price', field_name: field, previous_value: before, new_value: after };
}

it('steps begin with what the price was before its first change', () => {
  const newestFirst = [
    change('2026-03-03T00:00:00Z', '480000', '470000'),
    change('2026-03-02T12:00:00Z', 'Active', 'Pending', 'StandardStatus'),
    change('2026-03-02T00:00:00Z', '500000', '480000'),
  ];
  expect(stepsOf(newestFirst, '2026-03-01T00:00:00Z', '470000')).toEqual([
    { at: '2026-03-01T00:00:00Z', price: '500000' },
    { at: '2026-03-02T00:00:00Z', price: '480000' },
    { at: '2026-03-03T00:00:00Z', price: '470000' },
  ]);
});

it('a price that never moved is one step, and one that is not known none', () => {
  expect(stepsOf([], '2026-03-01T00:00:00Z', '5')).toEqual([{ at: '2026-03-01T00:00:00Z', price: '5' }]);
  expect(stepsOf([], '2026-03-01T00:00:00Z', undefined)).toEqual([]);
});

it('a price that came later than the listing begins with it', () => {
  expect(stepsOf([change('2026-03-02T00:00:00Z', null, '5')], '2026-03-01T00:00:00Z', '5')).toEqual([
    { at: '2026-03-02T00:00:00Z', price: '5' },
  ]);
});

it('ticks are few, round and within', () => {
  for (const [low, high] of [
    [735_000, 829_000],
    [0, 1],
    [1_000, 50_000_000],
    [499_999, 500_001],
  ] as const) {
    const found = ticks(low, high);
    expect(found.length).toBeLessThanOrEqual(4);
    for (const tick of found) expect(tick >= low && tick <= high).toBe(true);
  }
  expect(ticks(735_000, 829_000)).toEqual([750_000, 800_000]);
});
