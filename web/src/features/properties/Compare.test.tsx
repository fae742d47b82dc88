import { screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { describe, expect, it } from 'vitest';
import type { Schemas } from '@/api/client';
import { shown } from '@/testing';
import { Compare, ordered } from './Compare';

type Field = Schemas['ComparedField'];

function field(name: string, more: Partial<Field>): Field {
  return {
    name,
    label: name,
    group: null,
    type: 'text',
    unit: null,
    value: 'v',
    mls: 'v',
    own: null,
    kept_by: 'mls',
    state: 'same',
    override: null,
    changed_at: null,
    run_id: null,
    ...more,
  };
}

function compared(...fields: Field[]) {
  const data: Schemas['Comparison'] = {
    id: 'a',
    version: 1,
    mls_property_id: 'l',
    sync_status: 'synced',
    frozen: false,
    last_seen_at: null,
    synced_at: null,
    courtesy_of: null,
    fields,
  };
  const asked = { data, error: null, isFetching: false, dataUpdatedAt: 0, refetch: () => null };
  return shown(<Compare asked={asked as never} />);
}

const EMOJI = '🏡'.repeat(500);
const RTL = 'בית יפה ‮מטבח‬ חדש';
const NASTY = `<script>document.title = 'taken'</script><img src=x onerror="document.title='taken'">${RTL}${EMOJI}`;

describe('what a listing says', () => {
  it('shows as text, whatever stands in it', () => {
    document.title = 'as it was';
    const { container } = compared(field('PublicRemarks', { value: NASTY, mls: NASTY }));

    const told = screen.getAllByText((_, element) => element?.textContent === NASTY && element.tagName === 'SPAN');
    expect(told.length).toBeGreaterThan(0);
    for (const one of told) expect(one).toHaveAttribute('dir', 'auto');
    expect(container.querySelector('script, img')).toBeNull();
    expect(document.title).toBe('as it was');
  });

  it('is narrowed to what differs and what is overridden', async () => {
    compared(
      field('City', { state: 'differs', own: 'Bklyn' }),
      field('View', { state: 'crm_only', kept_by: 'crm', mls: null }),
      field('ListPrice', {
        state: 'conflict',
        kept_by: 'override',
        override: { by: null, at: null, reason: 'agreed', until: null, mls_value: '5' },
      }),
    );
    const [table] = screen.getAllByRole('table');
    if (table === undefined) throw new Error('no table');
    expect(within(table).getAllByRole('row')).toHaveLength(4);

    await userEvent.click(screen.getByLabelText('Different'));
    expect(within(table).getAllByRole('row')).toHaveLength(3);

    await userEvent.click(screen.getByLabelText('Overridden'));
    expect(within(table).getAllByRole('row')).toHaveLength(2);
    expect(within(table).getByRole('note')).toHaveAccessibleName(/agreed/);
  });

  it('begins with what people look for', () => {
    const names = ordered([field('AAA', {}), field('BedroomsTotal', {}), field('ListPrice', {})]).map(
      ({ name }) => name,
    );
    expect(names).toEqual(['ListPrice', 'BedroomsTotal', 'AAA']);
  });
});
