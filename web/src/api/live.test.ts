import { afterEach, expect, it, vi } from 'vitest';
import { isDue, isOpen, keepingUp, PACE } from './live';

afterEach(() => vi.useRealTimers());

it('a due time is looked at closely from just before it until a run must have begun', () => {
  vi.useFakeTimers({ now: new Date('2026-11-27T12:00:00Z') });
  expect(isDue('2026-11-27T12:00:01Z')).toBe(true);
  expect(isDue('2026-11-27T11:59:50Z')).toBe(true);
  expect(isDue('2026-11-27T12:00:05Z')).toBe(false);
  expect(isDue('2026-11-27T11:59:30Z')).toBe(false);
  expect(isDue(null)).toBe(false);
});

it('what runs is asked for more often', () => {
  const pace = keepingUp<{ status: string }>(isOpen);
  expect(pace({ state: { data: { status: 'running' } } })).toBe(PACE.running);
  expect(pace({ state: { data: { status: 'failed' } } })).toBe(PACE.usual);
  expect(pace({ state: {} })).toBe(PACE.usual);
});
