/** A CSV of the CRM's properties: what would come of it first, then the import, then what could not be taken. */
import { Alert, Button, Code, FileInput, Group, Modal, Stack, Table, Text } from '@mantine/core';
import { IconAlertTriangle, IconCircleCheck, IconFileTypeCsv } from '@tabler/icons-react';
import { useState } from 'react';
import { api, got, type Schemas } from '@/api/client';
import type { Problem } from '@/api/problem';
import { Act } from '@/shared/Act';
import { useDo } from '@/shared/doing';
import { count, many } from '@/shared/format';
import { ProblemNote } from '@/shared/Panel';

type Result = Schemas['ImportResult'];

/** So many errors stand in the dialog; all of them are in the file that can be had. */
const SHOWN = 50;

function send(text: string, dry: boolean): Promise<Result> {
  return got(
    api.POST('/api/properties/import', {
      params: { query: { dry_run: dry } },
      body: text as never,
      bodySerializer: (body: unknown) => body as string,
      headers: { 'Content-Type': 'text/csv' },
    }),
  );
}

export function ImportDialog({ opened, close }: { opened: boolean; close: () => void }) {
  const [file, setFile] = useState<File | null>(null);
  const [text, setText] = useState('');
  const [seen, setSeen] = useState<Result | null>(null);
  const [done, setDone] = useState<Result | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const keep = (found: Problem) => {
    setProblem(found);
    return true;
  };
  const look = useDo((body: string) => send(body, true), { done: setSeen, failed: keep });
  const take = useDo((body: string) => send(body, false), { done: setDone, failed: keep });

  function forget(): void {
    setSeen(null);
    setDone(null);
    setProblem(null);
  }

  async function choose(next: File | null): Promise<void> {
    forget();
    setFile(next);
    if (next === null) return;
    const read = await next.text();
    setText(read);
    look.mutate(read);
  }

  function leave(): void {
    close();
    forget();
    setFile(null);
    setText('');
  }

  const shown = done ?? seen;
  const rows = shown ? shown.made + shown.changed + shown.unchanged : 0;
  return (
    <Modal
      opened={opened}
      onClose={leave}
      title="Import CRM properties"
      size="lg"
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <Stack>
        <Text size="sm">
          A table with a header and a column <Code>id</Code>. Columns that it does not have are kept, empty cells empty
          theirs; rows that are wrong are told and the others go on.
        </Text>
        <FileInput
          label="CSV file"
          placeholder="Choose a file"
          accept=".csv,text/csv"
          clearable
          leftSection={<IconFileTypeCsv size={16} aria-hidden />}
          value={file}
          onChange={(next) => void choose(next)}
          data-autofocus
        />
        {problem && <ProblemNote problem={problem} />}
        {look.isPending && (
          <Text size="sm" role="status">
            Checking the file…
          </Text>
        )}
        {shown && (
          <Alert
            color={shown.errors.length > 0 ? 'orange' : 'teal'}
            variant="light"
            role="status"
            icon={
              shown.errors.length > 0 ? (
                <IconAlertTriangle size={18} aria-hidden />
              ) : (
                <IconCircleCheck size={18} aria-hidden />
              )
            }
            title={done ? 'Imported' : 'What would come of it'}
          >
            <Text size="sm">
              {many(shown.made, 'new property', 'new properties')}, {count(shown.changed)} changed,{' '}
              {count(shown.unchanged)} as they were; {many(shown.errors.length, 'row')}{' '}
              {done ? 'could not be taken' : 'cannot be taken'}.
            </Text>
          </Alert>
        )}
        {shown && shown.errors.length > 0 && <Errors of={shown.errors} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={leave}>
            {done ? 'Close' : 'Cancel'}
          </Button>
          {!done && (
            <Act
              needs="write:crm"
              loading={take.isPending}
              refused={seen === null ? 'Choose a file first.' : rows === 0 ? 'No row of it can be taken.' : null}
              onClick={() => take.mutate(text)}
            >
              {seen ? `Import ${many(rows, 'row')}` : 'Import'}
            </Act>
          )}
        </Group>
      </Stack>
    </Modal>
  );
}

function Errors({ of: errors }: { of: Result['errors'] }) {
  return (
    <div>
      <Table fz="sm" verticalSpacing={4} aria-label="Rows that cannot be taken">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Line</Table.Th>
            <Table.Th>Id</Table.Th>
            <Table.Th>What is wrong</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {errors.slice(0, SHOWN).map((one) => (
            <Table.Tr key={`${one.row}-${one.code}`}>
              <Table.Td className="num">{one.row}</Table.Td>
              <Table.Td className="wrap">{one.id || '—'}</Table.Td>
              <Table.Td className="wrap">
                {one.detail}{' '}
                <Text span size="xs" c="dimmed">
                  {one.code}
                </Text>
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      {errors.length > SHOWN && (
        <Text size="sm" c="dimmed" mt="xs">
          and {count(errors.length - SHOWN)} more; <Code>mls-crm-sync crm import</Code> prints them all.
        </Text>
      )}
    </div>
  );
}
