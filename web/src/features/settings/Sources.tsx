import { Alert, Badge, Button, Group, Menu, Stack, Text } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconAlertTriangle, IconCircleCheck, IconDots, IconPlugConnected, IconPlus } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { api, got, type Schemas } from '@/api/client';
import { sourceKinds, sources } from '@/api/queries';
import { Act, useRefusal } from '@/shared/Act';
import { say, useDo } from '@/shared/doing';
import { Lines, Loaded, Panel } from '@/shared/Panel';
import { When } from '@/shared/When';
import { SourceDialog } from './SourceDialog';

type Source = Schemas['SourceView'];

export function Sources() {
  const asked = useQuery(sources);
  const kinds = useQuery(sourceKinds);
  const [editing, setEditing] = useState<Source | null>(null);
  const [opened, { open, close }] = useDisclosure(false);
  const edit = (one: Source | null) => {
    setEditing(one);
    open();
  };
  return (
    <Panel
      flush
      title="Sources"
      right={
        <Act needs="write:config" size="compact-sm" leftSection={<IconPlus size={14} />} onClick={() => edit(null)}>
          Connect a source
        </Act>
      }
    >
      <Loaded of={asked} skeleton={<Lines rows={3} height={40} />}>
        {(page) =>
          page.items.length === 0 ? (
            <Text size="sm" c="dimmed" px="md" pb="md">
              None is connected yet. A source is where listings are read: a website, a service, or a folder of
              deliveries.
            </Text>
          ) : (
            <ul className="plain-list">
              {page.items.map((one) => (
                <li key={one.name} className="row-line" style={{ padding: '12px var(--mantine-spacing-md)' }}>
                  <Row
                    of={one}
                    title={kinds.data?.items.find((kind) => kind.kind === one.kind)?.title ?? one.kind}
                    edit={() => edit(one)}
                  />
                </li>
              ))}
            </ul>
          )
        }
      </Loaded>
      <SourceDialog
        opened={opened && kinds.data !== undefined}
        kinds={kinds.data?.items ?? []}
        of={editing}
        close={close}
      />
    </Panel>
  );
}

function Row({ of: one, title, edit }: { of: Source; title: string; edit: () => void }) {
  const [found, setFound] = useState<Schemas['SourceCheck'] | null>(null);
  const [sure, setSure] = useState(false);
  const away = useRefusal('write:config');
  const at = { params: { path: { id: one.name } } };
  const check = useDo(() => got(api.POST('/api/sources/{id}/check', at)), { done: setFound });
  const resume = useDo(() => got(api.POST('/api/sources/{id}/resume', at)), {
    done: () => say(`${one.name} is asked again.`),
  });
  const makeDefault = useDo(() => got(api.PATCH('/api/sources/{id}', { ...at, body: { default: true } })), {
    done: () => say(`${one.name} is the default source.`),
  });
  const remove = useDo(() => got(api.DELETE('/api/sources/{id}', at)), {
    done: () => say(`${one.name} is taken away; its listings stay.`, 'orange'),
  });
  return (
    <Stack gap="xs">
      <Group justify="space-between" gap="sm">
        <div style={{ minWidth: 0 }}>
          <Group gap="xs">
            <Text fw={600} size="sm" className="wrap">
              {one.name}
            </Text>
            {one.is_default && <Badge variant="default">default</Badge>}
            <Standing of={one} />
          </Group>
          <Text size="xs" c="dimmed" className="wrap">
            {[title, ...settingsOf(one), `at least ${one.request_delay} s between requests`].join(' · ')}
          </Text>
        </div>
        <Group gap="xs">
          {one.stopped_at !== null && (
            <Act
              needs="write:config"
              size="compact-sm"
              loading={resume.isPending}
              onClick={() => resume.mutate(undefined)}
            >
              Resume
            </Act>
          )}
          <Act
            needs="run"
            size="compact-sm"
            variant="default"
            leftSection={<IconPlugConnected size={14} />}
            loading={check.isPending}
            onClick={() => check.mutate(undefined)}
          >
            Check
          </Act>
          <Menu position="bottom-end">
            <Menu.Target>
              <Button
                size="compact-sm"
                variant="default"
                disabled={away !== null}
                title={away ?? undefined}
                aria-label={`More of ${one.name}`}
              >
                <IconDots size={15} />
              </Button>
            </Menu.Target>
            <Menu.Dropdown>
              <Menu.Item onClick={edit}>Edit</Menu.Item>
              {!one.is_default && (
                <Menu.Item onClick={() => makeDefault.mutate(undefined)}>Make it the default</Menu.Item>
              )}
              <Menu.Item onClick={() => setSure(true)}>Take it away…</Menu.Item>
            </Menu.Dropdown>
          </Menu>
        </Group>
      </Group>
      {sure && (
        <Alert color="red" variant="light" title={`Take ${one.name} away?`}>
          <Text size="sm">
            Its settings and its secret are forgotten. Listings, their history and their links stay, and are not read
            any more.
          </Text>
          <Group gap="xs" mt="xs">
            <Button size="compact-sm" variant="default" onClick={() => setSure(false)}>
              Keep it
            </Button>
            <Act
              needs="write:config"
              size="compact-sm"
              color="red"
              loading={remove.isPending}
              onClick={() => remove.mutate(undefined)}
            >
              Take it away
            </Act>
          </Group>
        </Alert>
      )}
      {found && (
        <Alert
          role="status"
          color={found.ok ? 'teal' : 'red'}
          variant="light"
          icon={found.ok ? <IconCircleCheck size={18} aria-hidden /> : <IconAlertTriangle size={18} aria-hidden />}
          title={found.ok ? 'It can be read' : 'It cannot be read now'}
          withCloseButton
          closeButtonLabel="Close"
          onClose={() => setFound(null)}
        >
          {found.detail}
        </Alert>
      )}
    </Stack>
  );
}

function Standing({ of: one }: { of: Source }) {
  if (one.stopped_at !== null) {
    return (
      <Badge variant="light" color="red" leftSection={<IconAlertTriangle size={12} aria-hidden />}>
        refused us <When at={one.stopped_at} />
      </Badge>
    );
  }
  if (one.left_alone_until !== null) {
    return (
      <Badge variant="light" color="orange" leftSection={<IconAlertTriangle size={12} aria-hidden />}>
        left alone until <When at={one.left_alone_until} as="time" />
      </Badge>
    );
  }
  if (one.secret_readable === false) {
    return (
      <Badge variant="light" color="orange" leftSection={<IconAlertTriangle size={12} aria-hidden />}>
        no key here opens its secret
      </Badge>
    );
  }
  return null;
}

function settingsOf(one: Source): string[] {
  return Object.entries(one.settings)
    .filter(([, value]) => value !== null && value !== '' && typeof value !== 'object')
    .map(([name, value]) => `${name.replaceAll('_', ' ')} ${String(value)}`);
}
