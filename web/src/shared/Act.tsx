/** Buttons that do something at the service: off with the reason while it is away, or where the key may not. */
import { ActionIcon, type ActionIconProps, Button, type ButtonProps, Tooltip } from '@mantine/core';
import type { ReactNode } from 'react';
import { useConnection } from '@/api/connection';
import { type Scope, useMay } from '@/api/queries';

/** Why somebody may not do it now; null when they may. */
export function useRefusal(scope: Scope): string | null {
  const may = useMay(scope);
  const { standing } = useConnection();
  if (standing !== 'polling') return 'The service does not answer; this waits until it does.';
  if (may === false) return `Your key has not the scope ${scope}.`;
  return null;
}

interface Wanted {
  needs: Scope;
  /** Another reason against it, from the page. */
  refused?: string | null;
  onClick: () => void;
}

export function Act({
  needs,
  refused,
  onClick,
  children,
  ...rest
}: Wanted & ButtonProps & { children: ReactNode; type?: 'submit' }) {
  const away = useRefusal(needs);
  const why = away ?? refused ?? null;
  const button = (
    <Button
      {...rest}
      data-disabled={why !== null || undefined}
      aria-disabled={why !== null || undefined}
      onClick={(event) => {
        event.preventDefault();
        if (why === null) onClick();
      }}
    >
      {children}
    </Button>
  );
  return why === null ? (
    button
  ) : (
    <Tooltip label={why} multiline maw={280} events={{ hover: true, focus: true, touch: true }}>
      {button}
    </Tooltip>
  );
}

export function ActIcon({
  needs,
  refused,
  onClick,
  children,
  label,
  ...rest
}: Wanted & ActionIconProps & { children: ReactNode; label: string }) {
  const away = useRefusal(needs);
  const why = away ?? refused ?? null;
  return (
    <Tooltip label={why ?? label} multiline maw={280} events={{ hover: true, focus: true, touch: true }}>
      <ActionIcon
        {...rest}
        aria-label={label}
        data-disabled={why !== null || undefined}
        aria-disabled={why !== null || undefined}
        onClick={() => {
          if (why === null) onClick();
        }}
      >
        {children}
      </ActionIcon>
    </Tooltip>
  );
}
