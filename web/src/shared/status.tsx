/** States as icon, word and colour; never by colour alone. */
import { Badge } from '@mantine/core';
import {
  IconAlertTriangle,
  IconArrowsDiff,
  IconCircleCheck,
  IconCircleDashed,
  IconCircleMinus,
  IconCircleX,
  IconClock,
  IconGhost2,
  IconLinkOff,
  IconLoader2,
  IconLock,
  IconPlayerSkipForward,
} from '@tabler/icons-react';
import { words } from './format';

interface Look {
  word: string;
  color: string;
  icon: typeof IconClock;
}

export const RUN: Record<string, Look> = {
  queued: { word: 'Queued', color: 'gray', icon: IconClock },
  running: { word: 'Running', color: 'indigo', icon: IconLoader2 },
  succeeded: { word: 'Succeeded', color: 'teal', icon: IconCircleCheck },
  partial: { word: 'Partly done', color: 'orange', icon: IconAlertTriangle },
  failed: { word: 'Failed', color: 'red', icon: IconCircleX },
  cancelled: { word: 'Cancelled', color: 'gray', icon: IconCircleMinus },
  skipped: { word: 'Skipped', color: 'gray', icon: IconPlayerSkipForward },
  missed: { word: 'Missed', color: 'gray', icon: IconCircleDashed },
};

/** How the last finished run of a schedule ended: its health. */
export const HEALTH: Record<string, Look> = {
  succeeded: { word: 'Healthy', color: 'teal', icon: IconCircleCheck },
  partial: { word: 'Partly failing', color: 'orange', icon: IconAlertTriangle },
  failed: { word: 'Failing', color: 'red', icon: IconCircleX },
  cancelled: { word: 'Last run cancelled', color: 'gray', icon: IconCircleMinus },
};

export const SYNC: Record<string, Look> = {
  synced: { word: 'In step', color: 'teal', icon: IconCircleCheck },
  stale: { word: 'Stale', color: 'orange', icon: IconClock },
  overridden: { word: 'Overridden', color: 'indigo', icon: IconLock },
  conflict: { word: 'Conflict', color: 'orange', icon: IconArrowsDiff },
  gone: { word: 'Listing gone', color: 'red', icon: IconGhost2 },
  not_linked: { word: 'Not linked', color: 'gray', icon: IconLinkOff },
};

export function Status({ of, as }: { of: string; as: Record<string, Look> }) {
  const look = as[of] ?? { word: words(of), color: 'gray', icon: IconCircleDashed };
  const Icon = look.icon;
  return (
    <Badge variant="light" color={look.color} miw="max-content" leftSection={<Icon size={13} aria-hidden />}>
      {look.word}
    </Badge>
  );
}
