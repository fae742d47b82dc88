/** Linking in place: search a listing, see what it is and what it is linked to, link it. */
import { Badge, Button, Group, Stack, Text, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { IconLink, IconSearch } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import type { Schemas } from '@/api/client';
import { listings } from '@/api/queries';
import { Act } from '@/shared/Act';
import { Courtesy } from '@/shared/Courtesy';
import { many, money } from '@/shared/format';
import { Loaded, Panel } from '@/shared/Panel';
import { When } from '@/shared/When';
import { useLink } from './doing';

interface Props {
  of: Schemas['CrmProperty'];
  move?: boolean;
  done?: () => void;
  cancel?: () => void;
}

export function LinkPanel({ of: one, move = false, done, cancel }: Props) {
  const first = (one.values.ListingId ?? one.values.UnparsedAddress ?? '') as string;
  const [typed, setTyped] = useState(move ? '' : first);
  const [sought] = useDebouncedValue(typed.trim(), 200);
  const found = useQuery({ ...listings(sought), enabled: sought.length >= 2 });
  const link = useLink(one.id, done);
  return (
    <Panel
      title={move ? 'Move the link to another listing' : 'Link it to its listing'}
      right={
        cancel && (
          <Button size="compact-sm" variant="default" onClick={cancel}>
            Cancel
          </Button>
        )
      }
    >
      <Stack gap="sm">
        <TextInput
          label="Listing"
          description="By MLS number, key or address"
          type="search"
          data-search
          leftSection={<IconSearch size={15} aria-hidden />}
          value={typed}
          onChange={(event) => setTyped(event.currentTarget.value)}
        />
        {sought.length >= 2 && (
          <Loaded of={found}>
            {(page) =>
              page.items.length === 0 ? (
                <Text size="sm" c="dimmed" role="status">
                  No listing is called so. Try a shorter part of the address, or the MLS number.
                </Text>
              ) : (
                <ul className="plain-list" aria-label="Listings found">
                  {page.items.map((listing) => (
                    <Found
                      key={listing.property_id}
                      of={listing}
                      linked={one.mls_property_id === listing.property_id}
                      pending={link.isPending}
                      link={() => link.mutate({ listing: listing.property_id, move })}
                    />
                  ))}
                </ul>
              )
            }
          </Loaded>
        )}
      </Stack>
    </Panel>
  );
}

interface FoundProps {
  of: Schemas['ListingSummary'];
  linked: boolean;
  pending: boolean;
  link: () => void;
}

function Found({ of: one, linked, pending, link }: FoundProps) {
  const { fields } = one;
  const text = (name: string) => (fields[name] == null ? null : String(fields[name]));
  const rooms = [
    text('BedroomsTotal') && `${text('BedroomsTotal')} bd`,
    text('BathroomsTotalInteger') && `${text('BathroomsTotalInteger')} ba`,
  ];
  return (
    <li className="row-line" style={{ paddingBlock: 10 }}>
      <Group justify="space-between" wrap="nowrap" gap="sm">
        <div style={{ minWidth: 0 }}>
          <Text size="sm" fw={550} className="wrap">
            {[text('UnparsedAddress') ?? one.listing_key, text('City'), text('PostalCode')].filter(Boolean).join(', ')}
          </Text>
          <Text size="xs" c="dimmed" className="wrap">
            {[
              text('ListingId') && `MLS ${text('ListingId')}`,
              text('StandardStatus'),
              text('ListPrice') && money(text('ListPrice')),
              ...rooms,
              one.source,
            ]
              .filter(Boolean)
              .join(' · ')}{' '}
            · changed <When at={one.last_changed_at} />
            {fields.ListOfficeName != null && ' · '}
            <Courtesy office={text('ListOfficeName')} />
          </Text>
        </div>
        <Group gap="xs" wrap="nowrap">
          {one.linked > 0 && (
            <Badge variant="default" miw="max-content">
              {many(one.linked, 'link')}
            </Badge>
          )}
          {one.absence_state !== 'listed' && (
            <Badge variant="light" color="orange" miw="max-content">
              {one.absence_state}
            </Badge>
          )}
          <Act
            needs="write:links"
            size="compact-sm"
            leftSection={<IconLink size={14} />}
            loading={pending}
            refused={linked ? 'It is linked to this one.' : null}
            onClick={link}
          >
            Link
          </Act>
        </Group>
      </Group>
    </li>
  );
}
