import { Alert, Button, Group, Table } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { Act } from '@/shared/Act';
import { changes, type Draft, LABELS, shownValue } from './draft';

interface ClashProps {
  mine: Draft;
  theirs: Draft;
  take: () => void;
  keep: () => void;
}

/** Two people have edited at once: both versions, and the choice. */
export function Clash({ mine, theirs, take, keep }: ClashProps) {
  return (
    <Alert
      color="orange"
      variant="light"
      mt="md"
      role="alert"
      icon={<IconAlertTriangle size={18} aria-hidden />}
      title="Somebody else has changed the schedule meanwhile"
    >
      <Table fz="sm" verticalSpacing={4} mb="sm" aria-label="Both versions">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Setting</Table.Th>
            <Table.Th>Theirs, saved</Table.Th>
            <Table.Th>Yours</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {changes(theirs, mine).map((name) => (
            <Table.Tr key={name}>
              <Table.Td>{LABELS[name]}</Table.Td>
              <Table.Td>{shownValue(name, theirs)}</Table.Td>
              <Table.Td>{shownValue(name, mine)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      <Group gap="xs">
        <Button size="compact-sm" variant="default" onClick={take}>
          Take theirs
        </Button>
        <Act needs="write:config" size="compact-sm" onClick={keep}>
          Save yours over it
        </Act>
      </Group>
    </Alert>
  );
}
