/** A card that loads, fails and goes stale by itself while the others carry on. */
import { Alert, Anchor, Button, Card, Code, Group, Skeleton, Stack, Text } from '@mantine/core';
import { IconAlertTriangle, IconCheck, IconCopy, IconRefresh } from '@tabler/icons-react';
import { type ReactNode, useEffect, useState } from 'react';
import { asProblem, forSupport, type Problem } from '@/api/problem';
import { When } from './When';

/** Milliseconds before a wait is shown at all. */
const PATIENCE = 150;

export function ProblemNote({ problem, retry }: { problem: Problem; retry?: () => void }) {
  const [copied, setCopied] = useState(false);
  const { title, detail, hint, request_id, code } = problem.body;
  return (
    <Alert color="red" variant="light" icon={<IconAlertTriangle size={18} aria-hidden />} title={title} role="alert">
      <Stack gap={6}>
        {detail && (
          <Text size="sm" className="sentence">
            {detail}
          </Text>
        )}
        {hint && (
          <Text size="sm" className="sentence">
            {hint}
          </Text>
        )}
        <Text size="xs" c="dimmed">
          <Code>{code}</Code>
          {request_id && (
            <>
              {' '}
              request <Code>{request_id}</Code>
            </>
          )}
        </Text>
        <Group gap="sm">
          {retry && (
            <Button size="compact-sm" variant="default" leftSection={<IconRefresh size={14} />} onClick={retry}>
              Try again
            </Button>
          )}
          <Anchor
            component="button"
            type="button"
            size="sm"
            onClick={() => {
              void navigator.clipboard?.writeText(forSupport(problem)).then(() => setCopied(true));
            }}
          >
            <Group gap={4} component="span">
              {copied ? <IconCheck size={14} aria-hidden /> : <IconCopy size={14} aria-hidden />}
              {copied ? 'Copied' : 'Copy for support'}
            </Group>
          </Anchor>
        </Group>
      </Stack>
    </Alert>
  );
}

/** True once a wait has lasted long enough to be shown. */
export function useLate(waiting: boolean): boolean {
  const [late, setLate] = useState(false);
  useEffect(() => {
    if (!waiting) {
      setLate(false);
      return;
    }
    const timer = setTimeout(() => setLate(true), PATIENCE);
    return () => clearTimeout(timer);
  }, [waiting]);
  return waiting && late;
}

interface Asked<T> {
  data: T | undefined;
  error: unknown;
  isFetching: boolean;
  dataUpdatedAt: number;
  refetch: () => unknown;
}

interface LoadedProps<T> {
  of: Asked<T>;
  /** The shape of what will be there; drawn after a moment. */
  skeleton?: ReactNode;
  children: (data: T) => ReactNode;
}

/** What was asked for; while that is not there its skeleton, and where it cannot be had, why. Old data stays. */
export function Loaded<T>({ of, skeleton, children }: LoadedProps<T>) {
  const late = useLate(of.data === undefined && of.error === null);
  if (of.data === undefined) {
    if (of.error !== null) return <ProblemNote problem={asProblem(of.error)} retry={() => void of.refetch()} />;
    return <div aria-busy="true">{late ? (skeleton ?? <Lines />) : <div style={{ minHeight: 60 }} />}</div>;
  }
  return (
    <>
      {of.error !== null && (
        <Text size="xs" className="stale" role="status" mb={6}>
          <IconAlertTriangle size={13} aria-hidden /> As of{' '}
          <When at={new Date(of.dataUpdatedAt).toISOString()} as="both" />: {asProblem(of.error).message}
        </Text>
      )}
      {children(of.data)}
    </>
  );
}

export function Lines({ rows = 4, height = 16 }: { rows?: number; height?: number }) {
  return (
    <Stack gap="xs">
      {Array.from({ length: rows }, (_, row) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: lines of a skeleton have nothing else
        <Skeleton key={row} height={height} radius="sm" />
      ))}
    </Stack>
  );
}

interface PanelProps {
  title?: ReactNode;
  right?: ReactNode;
  children: ReactNode;
  /** Without padding around its content, for tables. */
  flush?: boolean;
  label?: string;
}

export function Panel({ title, right, children, flush = false, label }: PanelProps) {
  return (
    <Card withBorder p={0} component="section" aria-label={label}>
      {(title || right) && (
        <Group justify="space-between" px="md" pt="md" pb={flush ? 'xs' : 0} gap="xs">
          <Text fw={600} component="h2" m={0} size="md">
            {title}
          </Text>
          {right}
        </Group>
      )}
      <div style={{ padding: flush ? 0 : 'var(--mantine-spacing-md)' }}>{children}</div>
    </Card>
  );
}
