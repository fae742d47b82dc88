/** Setting a source up: a form of what its kind asks for, as the service describes it (JSON Schema). */
import {
  Alert,
  Button,
  Checkbox,
  Group,
  JsonInput,
  Modal,
  NumberInput,
  PasswordInput,
  Select,
  Stack,
  Text,
  TextInput,
} from '@mantine/core';
import { useState } from 'react';
import { api, got, type Schemas } from '@/api/client';
import type { Problem } from '@/api/problem';
import { Act } from '@/shared/Act';
import { say, useDo } from '@/shared/doing';
import { words } from '@/shared/format';

interface Property {
  type?: string;
  anyOf?: { type?: string }[];
  enum?: string[];
  title?: string;
  description?: string;
  default?: unknown;
}

interface Schema {
  properties?: Record<string, Property>;
  required?: string[];
}

interface Props {
  kinds: Schemas['SourceKind'][];
  /** Null: a new one. */
  of: Schemas['SourceView'] | null;
  close: () => void;
}

/** Always there and opened at times, so that the focus goes back to where it was opened. */
export function SourceDialog({ opened, ...rest }: Props & { opened: boolean }) {
  return (
    <Modal
      opened={opened}
      onClose={rest.close}
      title={rest.of === null ? 'Connect a source' : `Edit ${rest.of.name}`}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <SourceForm {...rest} />
    </Modal>
  );
}

export function typeOf(property: Property): string {
  return property.type ?? property.anyOf?.find((one) => one.type !== 'null')?.type ?? 'string';
}

function SourceForm({ kinds, of: one, close }: Props) {
  const [kind, setKind] = useState(one?.kind ?? kinds[0]?.kind ?? '');
  const [name, setName] = useState(one?.name ?? '');
  const [secret, setSecret] = useState('');
  const [settings, setSettings] = useState<Record<string, unknown>>(one?.settings ?? {});
  const [errors, setErrors] = useState<Record<string, string>>({});
  const [problem, setProblem] = useState<Problem | null>(null);
  const chosen = kinds.find((known) => known.kind === kind);
  const schema = (chosen?.settings ?? {}) as Schema;

  const save = useDo(
    () => {
      const held = secret === '' ? {} : { secret };
      return one === null
        ? got(api.POST('/api/sources', { body: { name: name.trim(), kind, settings: given(settings), ...held } }))
        : got(api.PATCH('/api/sources/{id}', { params: { path: { id: one.name } }, body: { settings, ...held } }));
    },
    {
      done: (saved) => {
        say(one === null ? `${saved.name} is connected. See whether it can be read with Check.` : 'Saved.');
        close();
      },
      failed: (found) => {
        const named = (found.body.errors ?? []).map(
          ({ field, reason }) => [field.replace(/^settings\./, ''), reason] as const,
        );
        setErrors(Object.fromEntries(named));
        setProblem(named.length === 0 ? found : null);
        return true;
      },
    },
  );

  const set = (member: string, value: unknown) => setSettings({ ...settings, [member]: value });
  return (
    <Stack>
      {one === null && (
        <>
          <Select
            label="Kind"
            data={kinds.map((known) => ({ value: known.kind, label: known.title }))}
            allowDeselect={false}
            value={kind}
            onChange={(next) => {
              setKind(next ?? '');
              setSettings({});
              setErrors({});
            }}
          />
          <TextInput
            label="Name"
            description="What it is called in lists and files"
            required
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
            error={errors.name}
            data-autofocus
          />
        </>
      )}
      {Object.entries(schema.properties ?? {}).map(([member, property]) => (
        <Setting
          key={`${kind}-${member}`}
          name={member}
          of={property}
          required={(schema.required ?? []).includes(member)}
          value={settings[member]}
          set={(value) => set(member, value)}
          error={errors[member]}
        />
      ))}
      {chosen && chosen.credential !== 'none' && (
        <PasswordInput
          label={one?.has_secret ? 'New secret' : 'Secret'}
          description={
            one?.has_secret
              ? 'Left empty, the one that it has stays. It is never shown.'
              : 'A token or password. It is sealed and never shown again.'
          }
          required={chosen.credential === 'needed' && !one?.has_secret}
          value={secret}
          onChange={(event) => setSecret(event.currentTarget.value)}
          error={errors.secret}
          autoComplete="off"
          visibilityToggleButtonProps={{ 'aria-label': 'Show the secret' }}
        />
      )}
      {problem && (
        <Alert color="red" variant="light" title={problem.body.title} role="alert">
          <Text size="sm">{[problem.body.detail, problem.body.hint].filter(Boolean).join(' ')}</Text>
        </Alert>
      )}
      <Group justify="flex-end">
        <Button variant="default" onClick={close}>
          Cancel
        </Button>
        <Act
          needs="write:config"
          loading={save.isPending}
          refused={one === null && name.trim() === '' ? 'Give it a name.' : null}
          onClick={() => save.mutate(undefined)}
        >
          {one === null ? 'Connect' : 'Save'}
        </Act>
      </Group>
    </Stack>
  );
}

function given(settings: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== null && value !== ''));
}

interface SettingProps {
  name: string;
  of: Property;
  required: boolean;
  value: unknown;
  set: (value: unknown) => void;
  error: string | undefined;
}

function Setting({ name, of: property, required, value, set, error }: SettingProps) {
  const type = typeOf(property);
  const common = { label: words(name), description: property.description, error };
  const usual = property.default === undefined || property.default === null ? undefined : String(property.default);
  if (property.enum) {
    return (
      <Select
        {...common}
        required={required}
        data={property.enum}
        placeholder={usual}
        clearable={!required}
        value={(value as string | undefined) ?? null}
        onChange={set}
      />
    );
  }
  if (type === 'boolean') {
    return (
      <Checkbox
        {...common}
        checked={(value as boolean | undefined) ?? (property.default as boolean | undefined) ?? false}
        onChange={(event) => set(event.currentTarget.checked)}
      />
    );
  }
  if (type === 'integer' || type === 'number') {
    return (
      <NumberInput
        {...common}
        required={required}
        placeholder={usual}
        allowDecimal={type === 'number'}
        value={(value as number | undefined) ?? ''}
        onChange={(next) => set(next === '' ? null : next)}
      />
    );
  }
  if (type === 'object' || type === 'array') {
    return (
      <JsonInput
        {...common}
        autosize
        minRows={2}
        validationError="This is no JSON."
        defaultValue={value === undefined ? '' : JSON.stringify(value, null, 2)}
        onChange={(text) => {
          try {
            set(text.trim() === '' ? null : JSON.parse(text));
          } catch {
            // not whole yet: what was there counts until it is
          }
        }}
      />
    );
  }
  return (
    <TextInput
      {...common}
      required={required}
      placeholder={usual}
      value={(value as string | undefined) ?? ''}
      onChange={(event) => set(event.currentTarget.value === '' ? null : event.currentTarget.value)}
    />
  );
}
