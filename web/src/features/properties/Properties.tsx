import { Box, Button, Group, Select, Table, Text, TextInput } from '@mantine/core';
import { useDebouncedCallback } from '@mantine/hooks';
import { IconSearch, IconUpload, IconX } from '@tabler/icons-react';
import { useInfiniteQuery } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { useWindowVirtualizer } from '@tanstack/react-virtual';
import { memo, useEffect, useRef, useState } from 'react';
import type { Schemas } from '@/api/client';
import { type PropertyFilter, summaries } from '@/api/queries';
import { Act } from '@/shared/Act';
import { Courtesy, Disclaimer } from '@/shared/Courtesy';
import { many, money, priceChange } from '@/shared/format';
import { PageLink } from '@/shared/links';
import { Page } from '@/shared/Page';
import { Lines, Loaded, Panel } from '@/shared/Panel';
import { Status, SYNC } from '@/shared/status';
import { When } from '@/shared/When';
import { ImportDialog } from './ImportDialog';

type Summary = Schemas['PropertySummary'];
const here = getRouteApi('/properties');

/** What the filter "Show" offers, as the service understands it. */
const SHOW: Record<string, { label: string; filter: PropertyFilter }> = {
  linked: { label: 'Linked', filter: { linked: true } },
  not_linked: { label: 'Not linked', filter: { linked: false } },
  stale: { label: 'Stale', filter: { sync_status: ['stale'] } },
  conflict: { label: 'In conflict', filter: { sync_status: ['conflict'] } },
  overridden: { label: 'Overridden', filter: { sync_status: ['overridden', 'conflict'] } },
  gone: { label: 'Listing gone', filter: { sync_status: ['gone'] } },
};

const STATUSES = [
  'Active',
  'Active Under Contract',
  'Pending',
  'Closed',
  'Coming Soon',
  'Hold',
  'Withdrawn',
  'Expired',
  'Canceled',
  'Incomplete',
];

export function Properties() {
  const search = here.useSearch();
  const go = here.useNavigate();
  const filter: PropertyFilter = {
    q: search.q,
    city: search.city,
    standard_status: search.status,
    ...SHOW[search.show ?? '']?.filter,
  };
  const asked = useInfiniteQuery(summaries(filter));
  const total = asked.data?.pages[0]?.total;
  const set = (next: Partial<typeof search>) =>
    void go({ search: (before) => ({ ...before, ...next }), replace: true });
  const narrowed = Boolean(search.q || search.city || search.status || search.show);
  return (
    <Page
      title="Properties"
      badge={
        total != null && (
          <Text span c="dimmed" size="sm" className="num" role="status">
            {many(total, 'property', 'properties')}
          </Text>
        )
      }
      below="The CRM's properties, the last touched first."
      actions={
        <Act
          needs="write:crm"
          variant="default"
          leftSection={<IconUpload size={16} />}
          onClick={() => set({ import: true })}
        >
          Import CSV
        </Act>
      }
    >
      <Group gap="xs" align="flex-end">
        <Typed
          label="Search"
          placeholder="Address, MLS number or id"
          value={search.q ?? ''}
          onChange={(q) => set({ q: q || undefined })}
          grow
        />
        <Select
          label="Show"
          placeholder="All"
          clearable
          w={150}
          data={Object.entries(SHOW).map(([value, { label }]) => ({ value, label }))}
          value={search.show ?? null}
          onChange={(show) => set({ show: show ?? undefined })}
        />
        <Select
          label="MLS status"
          placeholder="Any"
          clearable
          w={190}
          data={STATUSES}
          value={search.status ?? null}
          onChange={(status) => set({ status: status ?? undefined })}
        />
        <Typed
          label="City"
          placeholder="Any"
          value={search.city ?? ''}
          onChange={(city) => set({ city: city || undefined })}
        />
        {narrowed && (
          <Button
            variant="subtle"
            leftSection={<IconX size={14} />}
            onClick={() => set({ q: undefined, city: undefined, status: undefined, show: undefined })}
          >
            Clear
          </Button>
        )}
      </Group>
      <Panel flush>
        <Loaded
          of={asked}
          skeleton={
            <Box p="md">
              <Lines rows={10} height={36} />
            </Box>
          }
        >
          {(data) => {
            const rows = data.pages.flatMap((page) => page.items);
            return rows.length === 0 ? (
              <Empty narrowed={narrowed} importing={() => set({ import: true })} />
            ) : (
              <Rows
                rows={rows}
                more={asked.hasNextPage}
                fetchMore={() => void asked.fetchNextPage()}
                fetching={asked.isFetchingNextPage}
              />
            );
          }}
        </Loaded>
      </Panel>
      <Disclaimer />
      <ImportDialog opened={search.import === true} close={() => set({ import: undefined })} />
    </Page>
  );
}

function Empty({ narrowed, importing }: { narrowed: boolean; importing: () => void }) {
  return (
    <Box p="md">
      <Text size="sm" mb="sm">
        {narrowed ? 'No property is so.' : 'The CRM has no property here yet.'}
      </Text>
      {!narrowed && (
        <Act needs="write:crm" leftSection={<IconUpload size={16} />} onClick={importing}>
          Import a CSV
        </Act>
      )}
    </Box>
  );
}

interface TypedProps {
  label: string;
  placeholder: string;
  value: string;
  onChange: (value: string) => void;
  grow?: boolean;
}

/** Text that is asked for a moment after the last key. */
function Typed({ label, placeholder, value, onChange, grow = false }: TypedProps) {
  const [typed, setTyped] = useState(value);
  const told = useRef(value);
  const tell = useDebouncedCallback((next: string) => {
    told.current = next;
    onChange(next);
  }, 220);
  useEffect(() => {
    if (value !== told.current) {
      told.current = value;
      setTyped(value);
    }
  }, [value]);
  return (
    <TextInput
      label={label}
      placeholder={placeholder}
      style={grow ? { flex: '1 1 220px' } : { width: 140 }}
      leftSection={grow ? <IconSearch size={15} aria-hidden /> : undefined}
      data-search={grow || undefined}
      type="search"
      value={typed}
      onChange={(event) => {
        setTyped(event.currentTarget.value);
        tell(event.currentTarget.value.trim());
      }}
    />
  );
}

/** So many rows before the end of what is there the next ones are asked for. */
const AHEAD = 120;

const ROW = { wide: 74, narrow: 96 };

interface RowsProps {
  rows: Summary[];
  more: boolean;
  fetching: boolean;
  fetchMore: () => void;
}

/** Only the rows that are in sight are in the page: ten thousand scroll as ten do. */
function Rows({ rows, more, fetching, fetchMore }: RowsProps) {
  const list = useRef<HTMLDivElement>(null);
  const narrow = useNarrow();
  const [offset, setOffset] = useState(0);
  useEffect(() => setOffset(list.current?.offsetTop ?? 0), []);
  const virtual = useWindowVirtualizer({
    count: rows.length,
    estimateSize: () => (narrow ? ROW.narrow : ROW.wide),
    overscan: 12,
    scrollMargin: offset,
    getItemKey: (place) => rows[place]?.id ?? place,
  });
  const shown = virtual.getVirtualItems();
  const last = shown[shown.length - 1]?.index ?? 0;
  useEffect(() => {
    if (more && !fetching && last >= rows.length - AHEAD) fetchMore();
  }, [last, more, fetching, rows.length, fetchMore]);
  const before = (shown[0]?.start ?? offset) - offset;
  const after = virtual.getTotalSize() - ((shown[shown.length - 1]?.end ?? offset) - offset);
  return (
    <div ref={list}>
      {narrow ? (
        <ul className="plain-list" style={{ paddingBlock: `${before}px ${after}px` }}>
          {shown.map((item) => {
            const one = rows[item.index];
            return one ? (
              <li
                key={item.key}
                data-index={item.index}
                ref={virtual.measureElement}
                className="row-line"
                style={{ padding: '10px var(--mantine-spacing-md)' }}
              >
                <Narrow of={one} />
              </li>
            ) : null;
          })}
        </ul>
      ) : (
        <Table.ScrollContainer minWidth={820}>
          <Table
            fz="sm"
            verticalSpacing={8}
            highlightOnHover
            className="num"
            aria-rowcount={rows.length}
            layout="fixed"
          >
            <Table.Thead>
              <Table.Tr>
                <Table.Th w="34%">Address</Table.Th>
                <Table.Th w="15%">MLS status</Table.Th>
                <Table.Th w="19%" ta="right">
                  Price
                </Table.Th>
                <Table.Th w="17%">Link</Table.Th>
                <Table.Th w="15%">Seen</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {before > 0 && (
                <tr aria-hidden>
                  <td colSpan={5} style={{ height: before, padding: 0 }} />
                </tr>
              )}
              {shown.map((item) => {
                const one = rows[item.index];
                return one ? (
                  <Wide key={item.key} of={one} place={item.index} measure={virtual.measureElement} />
                ) : null;
              })}
              {after > 0 && (
                <tr aria-hidden>
                  <td colSpan={5} style={{ height: after, padding: 0 }} />
                </tr>
              )}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      )}
    </div>
  );
}

const PHONE = '(max-width: 48em)';

function useNarrow(): boolean {
  const [narrow, setNarrow] = useState(() => matchMedia(PHONE).matches);
  useEffect(() => {
    const query = matchMedia(PHONE);
    const heard = () => setNarrow(query.matches);
    query.addEventListener('change', heard);
    return () => query.removeEventListener('change', heard);
  }, []);
  return narrow;
}

function where(one: Summary): string {
  return [one.city, [one.state, one.postal_code].filter(Boolean).join(' ')].filter(Boolean).join(', ');
}

function Where({ of: one }: { of: Summary }) {
  return (
    <>
      <Text size="xs" c="dimmed" truncate>
        {[where(one), one.id].filter(Boolean).join(' · ')}
      </Text>
      {one.courtesy_of && (
        <Text size="xs" c="dimmed" className="wrap">
          <Courtesy office={one.courtesy_of} />
        </Text>
      )}
    </>
  );
}

function Price({ of: one }: { of: Summary }) {
  const change = one.price_changed_at ? priceChange(one.previous_price, one.mls_price) : null;
  const own = one.mls_price !== null && one.mls_price !== one.list_price;
  return (
    <>
      {money(one.list_price)}
      {own && (
        <Text size="xs" c="dimmed">
          MLS {money(one.mls_price)}
        </Text>
      )}
      {change && (
        <Text size="xs" c="dimmed">
          {change} <When at={one.price_changed_at} />
        </Text>
      )}
    </>
  );
}

/** Drawn anew only where its property is another: scrolling draws the list sixty times a second. */
const Wide = memo(function Wide({
  of: one,
  place,
  measure,
}: {
  of: Summary;
  place: number;
  measure: (row: Element | null) => void;
}) {
  const go = here.useNavigate();
  const open = () => void go({ to: '/properties/$id', params: { id: one.id } });
  return (
    <Table.Tr
      data-row
      data-index={place}
      ref={measure}
      aria-rowindex={place + 1}
      tabIndex={0}
      onClick={open}
      onKeyDown={(event) => {
        if (event.key === 'Enter' && event.target === event.currentTarget) open();
      }}
    >
      <Table.Td>
        <PageLink
          to="/properties/$id"
          params={{ id: one.id }}
          inherit
          fw={550}
          onClick={(event) => event.stopPropagation()}
          className="wrap"
        >
          {one.address ?? one.id}
        </PageLink>
        <Where of={one} />
      </Table.Td>
      <Table.Td>
        {one.standard_status ?? '—'}
        <Text size="xs" c="dimmed">
          {one.crm_status ? `CRM: ${one.crm_status}` : ''}
        </Text>
      </Table.Td>
      <Table.Td ta="right">
        <Price of={one} />
      </Table.Td>
      <Table.Td>
        <Status of={one.sync_status} as={SYNC} />
        {one.mls_number && (
          <Text size="xs" c="dimmed" truncate>
            MLS {one.mls_number}
          </Text>
        )}
      </Table.Td>
      <Table.Td>{one.mls_property_id === null ? '' : <When at={one.last_seen_at} />}</Table.Td>
    </Table.Tr>
  );
});

function Narrow({ of: one }: { of: Summary }) {
  return (
    <Group justify="space-between" wrap="nowrap" align="flex-start" gap="xs">
      <div style={{ minWidth: 0 }}>
        <PageLink to="/properties/$id" params={{ id: one.id }} size="sm" fw={550} data-row className="wrap">
          {one.address ?? one.id}
        </PageLink>
        <Text size="xs" c="dimmed" className="wrap">
          {[where(one), one.standard_status].filter(Boolean).join(' · ')}
        </Text>
        {one.courtesy_of && (
          <Text size="xs" c="dimmed" className="wrap">
            <Courtesy office={one.courtesy_of} />
          </Text>
        )}
      </div>
      <Box ta="right" fz="sm" className="num" style={{ flex: 'none' }}>
        <b>{money(one.list_price)}</b>
        <div>
          <Status of={one.sync_status} as={SYNC} />
        </div>
      </Box>
    </Group>
  );
}
