import { Box, Group, Stack, Text, Title } from '@mantine/core';
import { type ReactNode, useEffect } from 'react';

interface Props {
  title: string;
  /** Beside the title: what state the thing is in. */
  badge?: ReactNode;
  /** Above the title: where it stands. */
  above?: ReactNode;
  below?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
}

export function Page({ title, badge, above, below, actions, children }: Props) {
  useEffect(() => {
    document.title = `${title} · MLS Sync`;
  }, [title]);
  return (
    <Stack gap="md" maw={1180} mx="auto">
      <Group justify="space-between" align="flex-start" gap="sm">
        <Box style={{ minWidth: 0 }}>
          {above}
          <Group gap="sm">
            <Title order={1} size="h3" className="wrap">
              {title}
            </Title>
            {badge}
          </Group>
          {below && (
            <Text c="dimmed" size="sm" mt={2} component="div" className="wrap">
              {below}
            </Text>
          )}
        </Box>
        {actions && <Group gap="xs">{actions}</Group>}
      </Group>
      {children}
    </Stack>
  );
}
