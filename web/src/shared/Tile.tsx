import { Paper, Text } from '@mantine/core';
import type { ReactNode } from 'react';

export function Tile({ label, value, note }: { label: string; value: ReactNode; note?: ReactNode }) {
  return (
    <Paper withBorder p="sm">
      <Text size="xs" c="dimmed">
        {label}
      </Text>
      <Text fz={22} fw={650} className="num" lh={1.3} component="div">
        {value}
      </Text>
      <Text size="xs" c="dimmed" component="div">
        {note ?? '\u00a0'}
      </Text>
    </Paper>
  );
}
