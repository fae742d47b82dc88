import {
  ActionIcon,
  AppShell,
  Badge,
  Burger,
  Button,
  Group,
  Kbd,
  Menu,
  Text,
  ThemeIcon,
  Tooltip,
  useMantineColorScheme,
} from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { spotlight } from '@mantine/spotlight';
import {
  IconActivity,
  IconCheck,
  IconHistory,
  IconHome2,
  IconKeyboard,
  IconLayoutDashboard,
  IconLogout,
  IconRefresh,
  IconSearch,
  IconSettings,
  IconWorld,
} from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { Outlet, useLocation } from '@tanstack/react-router';
import { useEffect } from 'react';
import { useConnection } from '@/api/connection';
import { key, setKey } from '@/api/key';
import { config } from '@/api/queries';
import { clock, relative, zoneName } from '@/shared/format';
import { PageNavLink } from '@/shared/links';
import { useNow } from '@/shared/now';
import { chooseZone, ownZone, useChosenZone, useZone } from '@/shared/preferences';
import { Palette } from './Palette';
import { Shortcuts } from './Shortcuts';

const places = [
  { to: '/', label: 'Overview', icon: IconLayoutDashboard },
  { to: '/rescraping', label: 'Re-scraping', icon: IconRefresh },
  { to: '/runs', label: 'Runs', icon: IconHistory },
  { to: '/properties', label: 'Properties', icon: IconHome2 },
  { to: '/settings', label: 'Settings', icon: IconSettings },
] as const;

export function Shell() {
  const [open, { toggle, close }] = useDisclosure(false);
  const [help, { open: openHelp, close: closeHelp }] = useDisclosure(false);
  const { pathname } = useLocation();
  // biome-ignore lint/correctness/useExhaustiveDependencies: the menu of a phone closes with each page
  useEffect(close, [pathname]);
  return (
    <AppShell
      header={{ height: 52 }}
      navbar={{ width: 212, breakpoint: 'sm', collapsed: { mobile: !open } }}
      padding={{ base: 'sm', sm: 'lg' }}
    >
      <a className="skip" href="#page">
        Skip to the page
      </a>
      <AppShell.Header>
        <Group h="100%" px={{ base: 'xs', sm: 'md' }} justify="space-between" wrap="nowrap">
          <Group gap="xs" wrap="nowrap">
            <Burger opened={open} onClick={toggle} hiddenFrom="sm" size="sm" aria-label="Menu" aria-expanded={open} />
            <ThemeIcon variant="filled" size={26} aria-hidden>
              <IconActivity size={16} />
            </ThemeIcon>
            <Text fw={650} style={{ whiteSpace: 'nowrap' }}>
              MLS Sync
            </Text>
          </Group>
          <Group gap="xs" wrap="nowrap">
            <Button
              visibleFrom="sm"
              variant="default"
              size="xs"
              leftSection={<IconSearch size={14} />}
              rightSection={<Kbd size="xs">Ctrl K</Kbd>}
              onClick={spotlight.open}
            >
              Search or jump to…
            </Button>
            <ActionIcon
              hiddenFrom="sm"
              variant="default"
              size={30}
              aria-label="Search or jump to"
              onClick={spotlight.open}
            >
              <IconSearch size={16} />
            </ActionIcon>
            <Pill />
            <Preferences openHelp={openHelp} />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="xs" aria-label="Pages">
        {places.map(({ to, label, icon: Icon }) => {
          const active = to === '/' ? pathname === '/' : pathname.startsWith(to);
          return (
            <PageNavLink
              key={to}
              to={to}
              active={active}
              aria-current={active ? 'page' : undefined}
              label={label}
              leftSection={<Icon size={17} stroke={1.6} aria-hidden />}
              style={{ borderRadius: 8 }}
            />
          );
        })}
      </AppShell.Navbar>
      <AppShell.Main id="page" tabIndex={-1} style={{ outline: 'none' }}>
        <Outlet />
      </AppShell.Main>
      <Palette openHelp={openHelp} />
      <Shortcuts opened={help} open={openHelp} close={closeHelp} />
    </AppShell>
  );
}

const PILL = {
  polling: { color: 'teal', word: 'Polling' },
  reconnecting: { color: 'orange', word: 'Reconnecting' },
  offline: { color: 'red', word: 'Offline' },
} as const;

/** Whether what the page shows is of now. */
function Pill() {
  const { standing, answeredAt } = useConnection();
  const zone = useZone();
  const now = useNow();
  const { color, word } = PILL[standing];
  const last =
    answeredAt === null ? 'It has not answered yet.' : `Last answer at ${clock(new Date(answeredAt), zone)}.`;
  const told =
    standing === 'polling'
      ? `The service is asked again every few seconds. ${last}`
      : `The service does not answer; nothing can be changed until it does. ${last}`;
  return (
    <Tooltip label={told} multiline maw={260}>
      <Badge
        variant="dot"
        color={color}
        size="lg"
        fw={500}
        role="status"
        tabIndex={0}
        aria-label={`${word}. ${told}`}
        style={{ cursor: 'default' }}
      >
        {word}
        {standing === 'offline' && answeredAt !== null && ` · ${relative(new Date(answeredAt), now)}`}
      </Badge>
    </Tooltip>
  );
}

function Preferences({ openHelp }: { openHelp: () => void }) {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const zone = useZone();
  const chosen = useChosenZone();
  const { data } = useQuery(config);
  const ofSchedule = data?.exists ? data.job.timezone : null;
  const zones: [string, string | null][] = [[`Yours: ${zoneName(ownZone())}`, null]];
  if (ofSchedule !== null && ofSchedule !== 'UTC' && ofSchedule !== ownZone()) {
    zones.push([`The schedule's: ${zoneName(ofSchedule)}`, ofSchedule]);
  }
  if (ownZone() !== 'UTC') zones.push(['UTC', 'UTC']);
  const schemes = [
    ['Light', 'light'],
    ['Dark', 'dark'],
    ['As the system', 'auto'],
  ] as const;
  return (
    <Menu position="bottom-end" width={230}>
      <Menu.Target>
        <ActionIcon
          variant="default"
          size={30}
          aria-label={`Time zone and appearance; times are in ${zoneName(zone)} time`}
        >
          <IconWorld size={16} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>Times are shown in</Menu.Label>
        {zones.map(([label, value]) => (
          <Menu.Item
            key={label}
            role="menuitemradio"
            aria-checked={chosen === value}
            onClick={() => chooseZone(value)}
            rightSection={chosen === value ? <IconCheck size={14} aria-hidden /> : null}
          >
            {label}
          </Menu.Item>
        ))}
        <Menu.Label>Appearance</Menu.Label>
        {schemes.map(([label, value]) => (
          <Menu.Item
            key={value}
            role="menuitemradio"
            aria-checked={colorScheme === value}
            onClick={() => setColorScheme(value)}
            rightSection={colorScheme === value ? <IconCheck size={14} aria-hidden /> : null}
          >
            {label}
          </Menu.Item>
        ))}
        <Menu.Divider />
        <Menu.Item
          leftSection={<IconKeyboard size={15} aria-hidden />}
          onClick={openHelp}
          rightSection={<Kbd size="xs">?</Kbd>}
        >
          Keyboard
        </Menu.Item>
        {key() !== null && (
          <Menu.Item leftSection={<IconLogout size={15} aria-hidden />} onClick={() => setKey(null)}>
            Forget the API key
          </Menu.Item>
        )}
      </Menu.Dropdown>
    </Menu>
  );
}
