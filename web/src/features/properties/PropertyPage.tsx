import { Alert, Grid, Menu, Stack, Text } from '@mantine/core';
import { IconGhost2, IconRefresh, IconUnlink } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { useState } from 'react';
import type { Schemas } from '@/api/client';
import { comparison, listing, property } from '@/api/queries';
import { Act, ActMenu } from '@/shared/Act';
import { Courtesy, Disclaimer } from '@/shared/Courtesy';
import { PageLink } from '@/shared/links';
import { Page } from '@/shared/Page';
import { Lines, Loaded } from '@/shared/Panel';
import { Status, SYNC } from '@/shared/status';
import { When } from '@/shared/When';
import { Compare } from './Compare';
import { CrmCard } from './CrmCard';
import { useSync, useUnlink } from './doing';
import { History } from './History';
import { LinkPanel } from './LinkPanel';
import { PriceCard } from './PriceCard';

const here = getRouteApi('/properties/$id');

export function PropertyPage() {
  const { id } = here.useParams();
  const asked = useQuery(property(id));
  return (
    <Loaded of={asked} skeleton={<Lines rows={10} height={34} />}>
      {(one) => <Shown key={one.id} of={one} />}
    </Loaded>
  );
}

/** "1408 Kinney Ave, Austin, TX 78704"; the id where nobody knows the address. */
export function titleOf(values: Record<string, unknown>, id: string): string {
  const street = values.UnparsedAddress as string | undefined;
  if (!street) return id;
  const city = values.City as string | undefined;
  const place = [values.StateOrProvince, values.PostalCode].filter(Boolean).join(' ');
  const rest = [city, place].filter((part) => part && !street.includes(String(part))).join(', ');
  return [street, rest].filter(Boolean).join(', ');
}

function Shown({ of: one }: { of: Schemas['CrmProperty'] }) {
  const compared = useQuery(comparison(one.id));
  const linked = one.mls_property_id;
  const office = one.values.ListOfficeName as string | undefined;
  const [moving, setMoving] = useState(false);
  return (
    <Page
      title={titleOf(one.values, one.id)}
      badge={<Status of={one.sync_status} as={SYNC} />}
      above={
        <Text size="xs" c="dimmed">
          <PageLink to="/properties" size="xs">
            Properties
          </PageLink>{' '}
          / {one.id}
        </Text>
      }
      below={
        linked === null ? (
          'Not linked to a listing'
        ) : (
          <>
            Linked to {one.values.ListingId ? `MLS ${String(one.values.ListingId)}` : linked} · synced{' '}
            <When at={one.synced_at} /> · seen <When at={one.last_seen_at} />
            {office && ' · '}
            <Courtesy office={office} />
          </>
        )
      }
      actions={linked === null ? undefined : <Actions id={one.id} move={() => setMoving(true)} />}
    >
      {one.sync_status === 'gone' && linked !== null && <Gone id={linked} />}
      {(linked === null || moving) && (
        <LinkPanel
          of={one}
          move={moving}
          done={() => setMoving(false)}
          cancel={moving ? () => setMoving(false) : undefined}
        />
      )}
      {linked === null && compared.data?.frozen && (
        <Alert color="gray" variant="light" title="The values stand as they were when the link was cut">
          Nothing here follows the MLS until it is linked again.
        </Alert>
      )}
      <Grid gap="md">
        <Grid.Col span={{ base: 12, md: 8 }}>
          <Compare asked={compared} />
        </Grid.Col>
        <Grid.Col span={{ base: 12, md: 4 }}>
          <Stack gap="md">
            {linked !== null && <PriceCard listing={linked} price={one.fields.ListPrice as string | undefined} />}
            <CrmCard of={one} />
            <History id={one.id} />
          </Stack>
        </Grid.Col>
      </Grid>
      <Disclaimer />
    </Page>
  );
}

function Actions({ id, move }: { id: string; move: () => void }) {
  const sync = useSync(id);
  const unlink = useUnlink(id);
  return (
    <>
      <ActMenu needs="write:links" label="Link" icon={<IconUnlink size={16} />}>
        <Menu.Item onClick={() => unlink.mutate(false)}>Unlink, keep the values</Menu.Item>
        <Menu.Item onClick={() => unlink.mutate(true)}>Unlink, give the CRM its own back</Menu.Item>
        <Menu.Divider />
        <Menu.Item onClick={move}>Move to another listing…</Menu.Item>
      </ActMenu>
      <Act
        needs="write:links"
        leftSection={<IconRefresh size={16} />}
        loading={sync.isPending}
        onClick={() => sync.mutate(true)}
      >
        Sync from MLS
      </Act>
    </>
  );
}

/** A listing that is not shown any more: since when, and how that is known. */
function Gone({ id }: { id: string }) {
  const asked = useQuery(listing(id));
  const one = asked.data;
  if (one === undefined) return null;
  return (
    <Alert
      color="red"
      variant="light"
      icon={<IconGhost2 size={18} aria-hidden />}
      title={one.purged_at ? 'The listing was purged' : 'The listing is gone'}
    >
      <Text size="sm">
        Last seen <When at={one.last_seen_at} as="full" />. The values stand as they were.
      </Text>
      {one.evidence && (
        <Text size="sm" c="dimmed">
          {evidence(one.evidence)}
        </Text>
      )}
    </Alert>
  );
}

function evidence(told: Record<string, unknown>): string {
  return Object.entries(told)
    .filter(([, value]) => typeof value !== 'object')
    .map(([name, value]) => `${name.replaceAll('_', ' ')}: ${String(value)}`)
    .join(' · ');
}
