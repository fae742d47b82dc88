/** Buttons that do something at the service: off with the reason while it is away, or where the key may not. */
import { Button, type ButtonProps, Menu, Tooltip } from '@mantine/core';
import { IconChevronDown } from '@tabler/icons-react';
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

/** Opens a menu of things to do; off with the reason, as Act is. */
export function ActMenu({
  needs,
  label,
  icon,
  children,
}: {
  needs: Scope;
  label: string;
  icon: ReactNode;
  children: ReactNode;
}) {
  const why = useRefusal(needs);
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <Button
          variant="default"
          disabled={why !== null}
          title={why ?? undefined}
          leftSection={icon}
          rightSection={<IconChevronDown size={14} />}
        >
          {label}
        </Button>
      </Menu.Target>
      <Menu.Dropdown>{children}</Menu.Dropdown>
    </Menu>
  );
}
