/** Where the service asks for a key: it is tried before it is kept, and kept for the life of the tab. */
import { Button, Card, Center, Code, PasswordInput, Stack, Text, Title } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useEffect, useState } from 'react';
import { api, got } from '@/api/client';
import { key, onKey, setKey } from '@/api/key';
import { asProblem } from '@/api/problem';
import { me } from '@/api/queries';

export function SignedIn({ children }: { children: ReactNode }) {
  const client = useQueryClient();
  useEffect(() => onKey(() => void client.resetQueries()), [client]);
  const asked = useQuery(me);
  const problem = asked.error === null ? null : asProblem(asked.error);
  if (asked.isPending) return null;
  if (problem?.status === 401) return <SignIn revoked={key() !== null} />;
  return children;
}

function SignIn({ revoked }: { revoked: boolean }) {
  const [typed, setTyped] = useState('');
  const [wrong, setWrong] = useState<string | null>(revoked ? 'The key is not in force any more.' : null);
  const [trying, setTrying] = useState(false);
  async function enter(): Promise<void> {
    const held = typed.trim();
    setTrying(true);
    setWrong(null);
    try {
      await got(api.GET('/api/me', { headers: { Authorization: `Bearer ${held}` }, cache: 'no-store' }));
      setKey(held);
    } catch (error) {
      const problem = asProblem(error);
      setWrong(problem.body.code === 'bad_key' ? 'There is no such key, or it was revoked.' : problem.message);
    } finally {
      setTrying(false);
    }
  }
  return (
    <Center mih="100vh" p="md" component="main">
      <Card withBorder p="xl" maw={420} w="100%">
        <form
          onSubmit={(event) => {
            event.preventDefault();
            void enter();
          }}
        >
          <Stack>
            <Title order={1} size="h3">
              MLS Sync
            </Title>
            <Text size="sm" c="dimmed">
              This service asks for an API key. It is kept until this tab is closed.
            </Text>
            <PasswordInput
              label="API key"
              placeholder="mcs_…"
              value={typed}
              onChange={(event) => setTyped(event.currentTarget.value)}
              error={wrong}
              autoFocus
              required
              autoComplete="off"
              visibilityToggleButtonProps={{ 'aria-label': 'Show the key' }}
            />
            <Button type="submit" loading={trying} disabled={typed.trim() === ''}>
              Go on
            </Button>
            <Text size="xs" c="dimmed">
              <Code>mls-crm-sync keys create NAME --scope read</Code> makes one on the service's machine.
            </Text>
          </Stack>
        </form>
      </Card>
    </Center>
  );
}
