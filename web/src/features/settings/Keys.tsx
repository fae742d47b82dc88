import {
  ActionIcon,
  Alert,
  Badge,
  Button,
  Checkbox,
  Code,
  CopyButton,
  Group,
  Modal,
  Stack,
  Text,
  TextInput,
  Tooltip,
} from '@mantine/core';
import { useForm } from '@mantine/form';
import { IconCheck, IconCopy, IconKey, IconPlus } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { api, got, type Schemas } from '@/api/client';
import { keys, type Scope } from '@/api/queries';
import { Act } from '@/shared/Act';
import { say, useDo } from '@/shared/doing';
import { Lines, Loaded, Panel } from '@/shared/Panel';
import { When } from '@/shared/When';

const SCOPES: { value: Scope; label: string; description: string }[] = [
  { value: 'read', label: 'read', description: 'See everything but keys' },
  { value: 'write:crm', label: 'write:crm', description: 'Make, edit, import and delete CRM properties' },
  { value: 'write:links', label: 'write:links', description: 'Link, unlink, bring in step by hand' },
  { value: 'write:config', label: 'write:config', description: 'Schedules and sources' },
  { value: 'run', label: 'run', description: 'Start runs, deliver listings, retry' },
  { value: 'admin', label: 'admin', description: 'Everything, keys and purges included' },
];

export function Keys() {
  const asked = useQuery(keys);
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<Schemas['KeyMade'] | null>(null);
  return (
    <Panel
      flush
      title="API keys"
      right={
        <Act needs="admin" size="compact-sm" leftSection={<IconPlus size={14} />} onClick={() => setMaking(true)}>
          Make a key
        </Act>
      }
    >
      {made && <Shown of={made} forget={() => setMade(null)} />}
      <Loaded of={asked} skeleton={<Lines rows={3} height={30} />}>
        {(page) =>
          page.items.length === 0 ? (
            <Text size="sm" c="dimmed" px="md" pb="md">
              There is none. From this machine none is needed; whoever calls from elsewhere needs one.
            </Text>
          ) : (
            <ul className="plain-list">
              {page.items.map((one) => (
                <li key={one.key_id} className="row-line" style={{ padding: '12px var(--mantine-spacing-md)' }}>
                  <Row of={one} />
                </li>
              ))}
            </ul>
          )
        }
      </Loaded>
      <Modal
        opened={making}
        onClose={() => setMaking(false)}
        title="Make a key"
        closeButtonProps={{ 'aria-label': 'Close' }}
      >
        <NewKey
          close={() => setMaking(false)}
          done={(key) => {
            setMade(key);
            setMaking(false);
          }}
        />
      </Modal>
    </Panel>
  );
}

function Row({ of: one }: { of: Schemas['KeyView'] }) {
  const [sure, setSure] = useState(false);
  const revoke = useDo(
    () => got(api.DELETE('/api/keys/{key_id}', { params: { path: { key_id: String(one.key_id) } } })),
    { done: () => say(`The key ${one.name} is revoked.`, 'orange') },
  );
  return (
    <Group justify="space-between" gap="sm">
      <div style={{ minWidth: 0 }}>
        <Group gap={6}>
          <Text size="sm" fw={600} className="wrap">
            {one.name}
          </Text>
          {one.scopes.map((scope) => (
            <Badge key={scope} variant="default" size="sm">
              {scope}
            </Badge>
          ))}
        </Group>
        <Text size="xs" c="dimmed">
          made <When at={one.created_at} as="both" />
        </Text>
      </div>
      {one.revoked_at !== null ? (
        <Text size="sm" c="dimmed">
          revoked <When at={one.revoked_at} />
        </Text>
      ) : sure ? (
        <Group gap="xs">
          <Button size="compact-sm" variant="default" onClick={() => setSure(false)}>
            Keep
          </Button>
          <Act
            needs="admin"
            size="compact-sm"
            color="red"
            loading={revoke.isPending}
            onClick={() => revoke.mutate(undefined)}
          >
            Revoke for good
          </Act>
        </Group>
      ) : (
        <Act
          needs="admin"
          size="compact-sm"
          variant="default"
          onClick={() => setSure(true)}
          aria-label={`Revoke ${one.name}`}
        >
          Revoke
        </Act>
      )}
    </Group>
  );
}

function Shown({ of: made, forget }: { of: Schemas['KeyMade']; forget: () => void }) {
  return (
    <Alert
      color="teal"
      variant="light"
      m="md"
      icon={<IconKey size={18} aria-hidden />}
      title={`The key ${made.name}, shown this once`}
    >
      <Group gap="xs" wrap="nowrap">
        <Code className="wrap" fz="sm">
          {made.key}
        </Code>
        <CopyButton value={made.key}>
          {({ copied, copy }) => (
            <Tooltip label={copied ? 'Copied' : 'Copy'}>
              <ActionIcon variant="default" onClick={copy} aria-label="Copy the key">
                {copied ? <IconCheck size={15} /> : <IconCopy size={15} />}
              </ActionIcon>
            </Tooltip>
          )}
        </CopyButton>
      </Group>
      <Button size="compact-sm" variant="default" mt="sm" onClick={forget}>
        I have it
      </Button>
    </Alert>
  );
}

function NewKey({ close, done }: { close: () => void; done: (key: Schemas['KeyMade']) => void }) {
  const form = useForm({ initialValues: { name: '', scopes: ['read'] as string[] } });
  const make = useDo(
    (values: typeof form.values) =>
      got(api.POST('/api/keys', { body: { name: values.name.trim(), scopes: values.scopes as Scope[] } })),
    {
      done,
      failed: (problem) => {
        for (const { field, reason } of problem.body.errors ?? [])
          form.setFieldError(field.split('.')[0] ?? field, reason);
        return (problem.body.errors ?? []).length > 0;
      },
    },
  );
  const ready = form.values.name.trim() !== '' && form.values.scopes.length > 0;
  return (
    <form
      onSubmit={form.onSubmit((values) => {
        if (ready) make.mutate(values);
      })}
    >
      <Stack>
        <TextInput
          label="Name"
          description="Who or what uses it"
          data-autofocus
          required
          maxLength={100}
          {...form.getInputProps('name')}
        />
        <Checkbox.Group label="What it may do" {...form.getInputProps('scopes')}>
          <Stack gap={6} mt={6}>
            {SCOPES.map((scope) => (
              <Checkbox key={scope.value} value={scope.value} label={scope.label} description={scope.description} />
            ))}
          </Stack>
        </Checkbox.Group>
        <Group justify="flex-end">
          <Button variant="default" onClick={close}>
            Cancel
          </Button>
          <Act
            needs="admin"
            type="submit"
            loading={make.isPending}
            refused={ready ? null : 'Give it a name and at least one scope.'}
            onClick={() => make.mutate(form.values)}
          >
            Make
          </Act>
        </Group>
      </Stack>
    </form>
  );
}
