/** What belongs to the CRM: no sync touches it, people edit it here or in the CRM. */
import { Autocomplete, Button, Group, Stack, TagsInput, Text, Textarea, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useState } from 'react';
import { api, got, type Schemas } from '@/api/client';
import { Act } from '@/shared/Act';
import { say, useDo } from '@/shared/doing';
import { Panel } from '@/shared/Panel';

const STATUSES = ['active', 'pending', 'sold', 'inactive'];

export function CrmCard({ of: one }: { of: Schemas['CrmProperty'] }) {
  const [editing, setEditing] = useState(false);
  return (
    <Panel
      title="Kept by the CRM"
      right={
        editing ? undefined : (
          <Act needs="write:crm" size="compact-sm" variant="default" onClick={() => setEditing(true)}>
            Edit
          </Act>
        )
      }
    >
      {editing ? <Form of={one} leave={() => setEditing(false)} /> : <Facts of={one} />}
    </Panel>
  );
}

function Facts({ of: one }: { of: Schemas['CrmProperty'] }) {
  const facts: [string, string | null][] = [
    ['CRM status', one.crm_status],
    ['Agent', one.assigned_agent],
    ['Tags', one.tags.join(', ') || null],
    ['Notes', one.notes],
    ['Platform', one.platform],
  ];
  return (
    <Stack gap={8}>
      {facts.map(([label, value]) => (
        <div key={label}>
          <Text size="xs" c="dimmed">
            {label}
          </Text>
          <Text size="sm" className="pre" dir="auto">
            {value ?? '—'}
          </Text>
        </div>
      ))}
    </Stack>
  );
}

function Form({ of: one, leave }: { of: Schemas['CrmProperty']; leave: () => void }) {
  const [version] = useState(one.version);
  const form = useForm({
    initialValues: {
      crm_status: one.crm_status ?? '',
      assigned_agent: one.assigned_agent ?? '',
      tags: one.tags,
      notes: one.notes ?? '',
    },
  });
  const save = useDo(
    (values: typeof form.values) =>
      got(
        api.PATCH('/api/properties/{id}', {
          params: { path: { id: one.id } },
          body: {
            version,
            crm_status: values.crm_status || null,
            assigned_agent: values.assigned_agent || null,
            tags: values.tags,
            notes: values.notes || null,
          },
        }),
      ),
    {
      done: () => {
        say('Saved.');
        leave();
      },
      failed: (problem) => {
        if (problem.status !== 412) return false;
        say('Somebody else has changed it meanwhile. Close this, look at it, and edit it again.', 'orange');
        return true;
      },
    },
  );
  return (
    <form onSubmit={form.onSubmit((values) => save.mutate(values))}>
      <Stack gap="sm">
        <Autocomplete label="CRM status" data={STATUSES} {...form.getInputProps('crm_status')} data-autofocus />
        <TextInput label="Agent" {...form.getInputProps('assigned_agent')} />
        <TagsInput label="Tags" {...form.getInputProps('tags')} />
        <Textarea label="Notes" autosize minRows={2} maxRows={10} {...form.getInputProps('notes')} />
        <Group justify="flex-end" gap="xs">
          <Button variant="default" size="compact-sm" onClick={leave}>
            Cancel
          </Button>
          <Act
            needs="write:crm"
            size="compact-sm"
            type="submit"
            loading={save.isPending}
            onClick={() => save.mutate(form.values)}
          >
            Save
          </Act>
        </Group>
      </Stack>
    </form>
  );
}
