import { Box, Group, SegmentedControl, Spoiler, Table, Text, Tooltip } from '@mantine/core';
import { IconAlertTriangle, IconBuilding, IconLock, IconWorld } from '@tabler/icons-react';
import type { UseQueryResult } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import type { Schemas } from '@/api/client';
import { fact } from '@/shared/format';
import { Lines, Loaded, Panel } from '@/shared/Panel';
import { useZone } from '@/shared/preferences';
import { When } from '@/shared/When';

type Field = Schemas['ComparedField'];
type Shown = 'all' | 'different' | 'overridden';

const DIFFERENT = new Set(['differs', 'overridden', 'conflict']);
const OVERRIDDEN = new Set(['overridden', 'conflict']);

/** What people look for first; the rest follows in the order of the table of fields. */
const FIRST = ['ListPrice', 'StandardStatus', 'BedroomsTotal', 'BathroomsTotalInteger', 'LivingArea', 'LotSizeAcres'];

export function ordered(fields: Field[]): Field[] {
  const place = (field: Field) => {
    const found = FIRST.indexOf(field.name);
    return found === -1 ? FIRST.length : found;
  };
  return [...fields].sort((a, b) => place(a) - place(b));
}

export function Compare({ asked }: { asked: UseQueryResult<Schemas['Comparison']> }) {
  const [show, setShow] = useState<Shown>('all');
  return (
    <Panel
      flush
      title="Fields"
      right={
        <SegmentedControl
          size="xs"
          aria-label="Which fields"
          value={show}
          onChange={(next) => setShow(next as Shown)}
          data={[
            { value: 'all', label: 'All' },
            { value: 'different', label: 'Different' },
            { value: 'overridden', label: 'Overridden' },
          ]}
        />
      }
    >
      <Loaded
        of={asked}
        skeleton={
          <Box p="md">
            <Lines rows={12} height={28} />
          </Box>
        }
      >
        {(told) => {
          const fields = ordered(told.fields).filter(
            (field) =>
              show === 'all' || (show === 'different' ? DIFFERENT.has(field.state) : OVERRIDDEN.has(field.state)),
          );
          if (fields.length === 0) {
            return (
              <Text size="sm" c="dimmed" px="md" pb="md">
                {show === 'all' ? 'Nobody has said anything of it yet.' : 'No field is so.'}
              </Text>
            );
          }
          return (
            <>
              <Wide fields={fields} frozen={told.mls_property_id === null} />
              <Narrow fields={fields} frozen={told.mls_property_id === null} />
            </>
          );
        }}
      </Loaded>
    </Panel>
  );
}

const KEPT: Record<string, { word: string; icon: typeof IconWorld; why: string }> = {
  mls: { word: 'MLS', icon: IconWorld, why: 'The MLS keeps this field; each change of the listing comes here.' },
  crm: { word: 'CRM', icon: IconBuilding, why: 'The MLS says nothing of it; the value is the CRM’s own.' },
  override: { word: 'Override', icon: IconLock, why: 'A value that somebody set over the MLS’s.' },
};

function Kept({ of: field, frozen }: { of: Field; frozen: boolean }) {
  const look = KEPT[field.kept_by];
  if (look === undefined) return null;
  const Icon = look.icon;
  const set = field.override;
  const why = set
    ? `Set${set.by ? ` by ${set.by}` : ''}${set.reason ? `: “${set.reason}”` : ''}${set.until ? `, until ${set.until}` : ''}`
    : frozen && field.kept_by === 'mls'
      ? 'It came from the MLS while there was a link.'
      : look.why;
  return (
    <Tooltip label={why} multiline maw={280} events={{ hover: true, focus: true, touch: true }}>
      <Group gap={6} wrap="nowrap" pt={2} tabIndex={0} role="note" aria-label={`${look.word}: ${why}`} w="max-content">
        <Icon size={15} aria-hidden />
        <Text size="xs">{frozen && field.kept_by === 'mls' ? 'MLS, frozen' : look.word}</Text>
      </Group>
    </Tooltip>
  );
}

function Value({ of: field, value }: { of: Field; value: unknown }) {
  const zone = useZone();
  const text = fact(value, field.type, field.unit, zone);
  return text.length > 180 ? (
    <Spoiler maxHeight={66} showLabel="All of it" hideLabel="Less">
      <span className="pre" dir="auto">
        {text}
      </span>
    </Spoiler>
  ) : (
    <span className="pre" dir="auto">
      {text}
    </span>
  );
}

function Has({ of: field }: { of: Field }) {
  return (
    <>
      <Value of={field} value={field.value} />
      {field.state === 'differs' && (
        <Text size="xs" c="dimmed" component="div">
          the CRM's own: <Value of={field} value={field.own} />
        </Text>
      )}
      {field.state === 'conflict' && (
        <Text size="xs" className="stale" component="div">
          <IconAlertTriangle size={13} aria-hidden style={{ verticalAlign: -2 }} /> the MLS said{' '}
          <Value of={field} value={field.override?.mls_value} /> when it was set
        </Text>
      )}
    </>
  );
}

/** True for a moment after the value has changed before the reader's eyes. */
function useFresh(value: unknown): boolean {
  const text = JSON.stringify(value);
  const before = useRef(text);
  const [fresh, setFresh] = useState(false);
  useEffect(() => {
    if (before.current === text) return;
    before.current = text;
    setFresh(true);
    const timer = setTimeout(() => setFresh(false), 2_500);
    return () => clearTimeout(timer);
  }, [text]);
  return fresh;
}

function Since({ of: field }: { of: Field }) {
  return field.changed_at ? (
    <Text size="xs" c="dimmed">
      MLS changed it <When at={field.changed_at} />
    </Text>
  ) : null;
}

interface Props {
  fields: Field[];
  frozen: boolean;
}

function Wide({ fields, frozen }: Props) {
  return (
    <Box visibleFrom="sm">
      <Table fz="sm" verticalSpacing={8} className="num" layout="fixed">
        <Table.Thead>
          <Table.Tr>
            <Table.Th w="25%">Field</Table.Th>
            <Table.Th w="29%">MLS says</Table.Th>
            <Table.Th w="29%">CRM has</Table.Th>
            <Table.Th w="17%">Kept by</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {fields.map((field) => (
            <Row key={field.name} of={field} frozen={frozen} />
          ))}
        </Table.Tbody>
      </Table>
    </Box>
  );
}

function Row({ of: field, frozen }: { of: Field; frozen: boolean }) {
  const fresh = useFresh(field.value);
  return (
    <Table.Tr data-state={field.state} data-fresh={fresh || undefined}>
      <Table.Td style={{ verticalAlign: 'top' }}>
        <Text size="sm" fw={550} title={field.name} className="wrap">
          {field.label}
        </Text>
        <Since of={field} />
      </Table.Td>
      <Table.Td style={{ verticalAlign: 'top' }} c={field.mls === null ? 'dimmed' : undefined}>
        {field.mls === null ? 'not in the MLS' : <Value of={field} value={field.mls} />}
      </Table.Td>
      <Table.Td style={{ verticalAlign: 'top' }}>
        <Has of={field} />
      </Table.Td>
      <Table.Td style={{ verticalAlign: 'top' }}>
        <Kept of={field} frozen={frozen} />
      </Table.Td>
    </Table.Tr>
  );
}

function Narrow({ fields, frozen }: Props) {
  return (
    <Box component="ul" hiddenFrom="sm" className="plain-list">
      {fields.map((field) => (
        <li key={field.name} className="row-line" style={{ padding: '9px var(--mantine-spacing-md)' }}>
          <Group justify="space-between" wrap="nowrap" align="flex-start">
            <div style={{ minWidth: 0 }}>
              <Text size="xs" c="dimmed">
                {field.label}
              </Text>
              <Text size="sm" component="div" className="num">
                <Has of={field} />
              </Text>
              {DIFFERENT.has(field.state) && field.kept_by !== 'mls' && (
                <Text size="xs" c="dimmed" component="div">
                  MLS says: <Value of={field} value={field.mls} />
                </Text>
              )}
            </div>
            <Kept of={field} frozen={frozen} />
          </Group>
        </li>
      ))}
    </Box>
  );
}
