/** What the market changed, newest first. What is new while somebody reads waits behind a button. */
import { Button, Center, Group, SegmentedControl, Text } from '@mantine/core';
import { IconArrowNarrowRight } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import type { Schemas } from '@/api/client';
import { changes } from '@/api/queries';
import { Courtesy } from '@/shared/Courtesy';
import { shownAs } from '@/shared/change';
import { many } from '@/shared/format';
import { PageLink } from '@/shared/links';
import { Loaded, Panel } from '@/shared/Panel';
import { useZone } from '@/shared/preferences';
import { When } from '@/shared/When';

type Change = Schemas['MarketChange'];

const FEW = 10;

export function Feed() {
  const [linked, setLinked] = useState(true);
  const asked = useQuery(changes(linked || undefined));
  return (
    <Panel
      flush
      title="What changed at the MLS"
      right={
        <SegmentedControl
          size="xs"
          aria-label="Which listings"
          value={linked ? 'linked' : 'all'}
          onChange={(value) => setLinked(value === 'linked')}
          data={[
            { value: 'linked', label: 'Linked' },
            { value: 'all', label: 'All listings' },
          ]}
        />
      }
    >
      <Loaded of={asked}>{(page) => <Rows key={String(linked)} items={page.items} />}</Loaded>
    </Panel>
  );
}

function Rows({ items }: { items: Change[] }) {
  const reading = useRef<HTMLDivElement>(null);
  const [shown, setShown] = useState(items);
  const [whole, setWhole] = useState(false);
  const newest = shown[0]?.change_id ?? 0;
  const waiting = items.filter((one) => one.change_id > newest).length;
  useEffect(() => {
    // Somebody who is in the middle of the list keeps it as it is; at its top it goes on by itself.
    const box = reading.current?.getBoundingClientRect();
    const isBeingRead = box !== undefined && box.top < 0 && box.bottom > 0;
    if (!isBeingRead) setShown(items);
  }, [items]);
  if (shown.length === 0) {
    return (
      <Text size="sm" c="dimmed" px="md" pb="md">
        Nothing has changed yet. Changes stand here as soon as a run finds them.
      </Text>
    );
  }
  return (
    <div ref={reading}>
      {waiting > 0 && (
        <Group justify="center" pb="xs">
          <Button size="compact-sm" variant="light" onClick={() => setShown(items)}>
            {waiting} new
          </Button>
        </Group>
      )}
      <ul className="plain-list">
        {(whole ? shown : shown.slice(0, FEW)).map((one) => (
          <Row key={one.change_id} of={one} />
        ))}
      </ul>
      {!whole && shown.length > FEW && (
        <Center p="sm">
          <Button variant="default" size="compact-sm" onClick={() => setWhole(true)}>
            Show more
          </Button>
        </Center>
      )}
    </div>
  );
}

function Row({ of: one }: { of: Change }) {
  const zone = useZone();
  const followers = Object.entries(one.crm_properties);
  const first = followers[0];
  const held = followers.filter(([, what]) => what === 'held_by_override').length;
  return (
    <li className="row-line" style={{ padding: '9px var(--mantine-spacing-md)' }}>
      <Group justify="space-between" wrap="nowrap" align="flex-start" gap="md">
        <div style={{ minWidth: 0 }}>
          <Text size="sm" className="wrap" component="div">
            {first ? (
              <PageLink to="/properties/$id" params={{ id: first[0] }} inherit fw={550}>
                {one.address ?? first[0]}
              </PageLink>
            ) : (
              <Text span inherit fw={550}>
                {one.address ?? one.listing_key}
              </Text>
            )}{' '}
            <Text span inherit c="dimmed">
              {one.label}
            </Text>{' '}
            <span className="num">{shownAs(one, one.previous_value, zone)}</span>{' '}
            <IconArrowNarrowRight size={14} aria-label="became" style={{ verticalAlign: -2 }} />{' '}
            <b className="num">{shownAs(one, one.new_value, zone)}</b>
          </Text>
          <Text size="xs" c="dimmed" className="wrap">
            {followers.length === 0
              ? 'no CRM property follows it'
              : held === followers.length
                ? 'held by an override'
                : `${many(followers.length - held, 'CRM property', 'CRM properties')} followed`}{' '}
            · run #{one.run_id}
            {one.courtesy_of && ' · '}
            <Courtesy office={one.courtesy_of} />
          </Text>
        </div>
        <Text size="xs" c="dimmed" style={{ whiteSpace: 'nowrap' }}>
          <When at={one.at} />
        </Text>
      </Group>
    </li>
  );
}
