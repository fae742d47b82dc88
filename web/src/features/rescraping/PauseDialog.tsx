import { Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core';
import { useState } from 'react';
import { zoneName } from '@/shared/format';
import { ownZone } from '@/shared/preferences';

interface Props {
  opened: boolean;
  close: () => void;
  pause: (until: string) => void;
}

/** Asks until when; a time of this browser's zone. */
export function PauseDialog({ opened, close, pause }: Props) {
  const [until, setUntil] = useState('');
  const at = until === '' ? null : new Date(until);
  const past = at !== null && at.getTime() <= Date.now();
  return (
    <Modal opened={opened} onClose={close} title="Pause until" closeButtonProps={{ 'aria-label': 'Close' }}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (at === null || past) return;
          pause(at.toISOString());
          close();
        }}
      >
        <Stack>
          <TextInput
            type="datetime-local"
            label="Goes on at"
            description={`${zoneName(ownZone())} time`}
            value={until}
            onChange={(event) => setUntil(event.currentTarget.value)}
            error={past ? 'This time has passed.' : null}
            required
          />
          <Text size="sm" c="dimmed">
            Due times until then are noted as skipped. It goes on by itself.
          </Text>
          <Group justify="flex-end">
            <Button variant="default" onClick={close}>
              Cancel
            </Button>
            <Button type="submit" disabled={at === null || past}>
              Pause
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
