import { describe, expect, it } from 'vitest';
import {
  dateOnly,
  difference,
  duration,
  fact,
  instant,
  money,
  priceChange,
  relative,
  shortInstant,
  span,
  zoneName,
} from './format';

const NEW_YORK = 'America/New_York';
const CHICAGO = 'America/Chicago';

describe('money', () => {
  it.each([
    ['749000', '$749,000'],
    ['749000.5', '$749,000.50'],
    ['0.05', '$0.05'],
    ['-20000', '−$20,000'],
    ['0', '$0'],
    ['12345678901234567890.12', '$12,345,678,901,234,567,890.12'],
    ['1.005', '$1.005'],
    ['on request', 'on request'],
    [null, '—'],
    ['', '—'],
  ])('%s is %s', (text, shown) => expect(money(text)).toBe(shown));

  it('has its currency', () => expect(money('1200', 'EUR')).toBe('€1,200'));
});

describe('differences of prices are exact', () => {
  it.each([
    ['0.3', '0.1', '-0.2'],
    ['500000', '480000', '-20000'],
    ['1', '1.05', '0.05'],
    ['99999999999999999999', '100000000000000000000', '1'],
    ['5', '5', '0'],
    ['-2', '3', '5'],
  ])('%s to %s is %s', (before, after, change) => expect(difference(before, after)).toBe(change));

  it('are not guessed', () => expect(difference('about 5', '6')).toBeNull());
  it('stand with their share', () => expect(priceChange('500000', '480000')).toBe('−$20,000 (−4.0%)'));
  it('say up as well', () => expect(priceChange('500000', '510000')).toBe('+$10,000 (+2.0%)'));
  it('are nothing without both', () => expect(priceChange(null, '1')).toBeNull());
  it('have no share of nothing', () => expect(priceChange('0', '10')).toBeNull());
});

describe('dates', () => {
  it('without a time stay that date in every zone', () => expect(dateOnly('2026-08-04')).toBe('Aug 4, 2026'));
  it('that are none stay as they are', () => expect(dateOnly('soon')).toBe('soon'));
  it('of a leap day', () => expect(dateOnly('2028-02-29')).toBe('Feb 29, 2028'));
});

describe('instants', () => {
  it('name the zone they are shown in', () =>
    expect(instant('2026-11-23T15:00:00Z', NEW_YORK)).toBe('Mon, Nov 23, 10:00 AM EST'));
  it('are of the day before further west', () =>
    expect(instant('2026-08-04T03:30:00Z', CHICAGO)).toBe('Mon, Aug 3, 10:30 PM CDT'));
  it('tell the two hours apart when the clocks go back', () => {
    expect(instant('2026-11-01T05:30:00Z', NEW_YORK)).toContain('1:30 AM EDT');
    expect(instant('2026-11-01T06:30:00Z', NEW_YORK)).toContain('1:30 AM EST');
  });
  it('leap over the hour that is not there when they go forward', () => {
    expect(instant('2026-03-08T06:59:00Z', NEW_YORK)).toContain('1:59 AM EST');
    expect(instant('2026-03-08T07:00:00Z', NEW_YORK)).toContain('3:00 AM EDT');
  });
  it('have their year where it is another', () => {
    const now = new Date('2027-01-02T00:00:00Z');
    expect(shortInstant('2026-12-31T23:00:00Z', 'UTC', now)).toBe('Dec 31, 2026, 11:00 PM');
    expect(shortInstant('2027-01-01T01:00:00Z', 'UTC', now)).toBe('Jan 1, 1:00 AM');
  });
  it('count their year in the zone they are shown in', () =>
    expect(shortInstant('2027-01-01T01:00:00Z', NEW_YORK, new Date('2027-01-02T12:00:00Z'))).toBe(
      'Dec 31, 2026, 8:00 PM',
    ));
});

describe('relative times', () => {
  const now = new Date('2026-11-23T15:00:00Z');
  it.each([
    ['2026-11-23T15:00:03Z', 'just now'],
    ['2026-11-23T14:59:20Z', '40 sec. ago'],
    ['2026-11-23T15:36:00Z', 'in 36 min.'],
    ['2026-11-23T13:00:00Z', '2 hr. ago'],
    ['2026-11-20T15:00:00Z', '3 days ago'],
    ['2026-05-23T15:00:00Z', '6 mo. ago'],
    ['2020-11-23T15:00:00Z', '6 yr. ago'],
  ])('%s is %s', (at, shown) => expect(relative(at, now)).toBe(shown));
});

describe('durations', () => {
  it.each([
    [null, '—'],
    [400, '<1s'],
    [52_000, '52s'],
    [245_000, '4m 05s'],
    [3_720_000, '1h 02m'],
    [59_600, '1m 00s'],
  ])('%s ms is %s', (ms, shown) => expect(duration(ms)).toBe(shown));

  it('that were chosen', () => {
    expect(span(43_200)).toBe('12 hours');
    expect(span(86_400)).toBe('1 day');
    expect(span(300)).toBe('5 minutes');
  });
});

describe('facts by their type', () => {
  it.each([
    ['749000', 'money', 'USD', '$749,000'],
    ['2318', 'decimal', 'sqft', '2,318 sq ft'],
    ['0.21', 'decimal', 'acres', '0.21 acres'],
    [1992, 'integer', 'year', '1992'],
    [4, 'integer', null, '4'],
    ['30.25', 'latitude', 'degrees', '30.25°'],
    [true, 'boolean', null, 'Yes'],
    [false, 'boolean', null, 'No'],
    ['2026-02-19', 'date', null, 'Feb 19, 2026'],
    [['Sea', 'City'], 'multi', null, 'Sea, City'],
    [[{ MediaKey: 'a' }], 'media', null, '1 item'],
    [{ a: 1 }, null, null, '{"a":1}'],
    [null, 'text', null, '—'],
    ['0.1234567890123456789', 'decimal', null, '0.1234567890123456789'],
  ])('%s, a %s in %s, is %s', (value, type, unit, shown) => expect(fact(value, type, unit, 'UTC')).toBe(shown));
});

it('zones are called by their place', () => {
  expect(zoneName('America/Argentina/Buenos_Aires')).toBe('Buenos Aires');
  expect(zoneName('UTC')).toBe('UTC');
});
