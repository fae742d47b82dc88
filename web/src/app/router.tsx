import { Stack, Text, Title } from '@mantine/core';
import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from '@tanstack/react-router';
import { asProblem } from '@/api/problem';
import { PageButton } from '@/shared/links';
import { ProblemNote } from '@/shared/Panel';
import { Shell } from './Shell';

const root = createRootRoute({ component: Shell, notFoundComponent: Nowhere, errorComponent: Fault });

function Nowhere() {
  return (
    <Stack align="flex-start" maw={560}>
      <Title order={1} size="h3">
        There is no such page
      </Title>
      <Text>The address may be mistyped, or of an earlier release.</Text>
      <PageButton to="/" variant="default">
        Overview
      </PageButton>
    </Stack>
  );
}

function Fault({ error, reset }: { error: unknown; reset: () => void }) {
  return <ProblemNote problem={asProblem(error)} retry={reset} />;
}

type Given = Record<string, unknown>;

/** A member of the address's query that is text; numbers and true are text too there. */
function text(given: Given, name: string): string | undefined {
  const value = given[name];
  return value === undefined || value === null || value === '' ? undefined : String(value);
}

function oneOf<T extends string>(given: Given, name: string, known: readonly T[]): T | undefined {
  return known.find((one) => one === given[name]);
}

const overview = createRoute({
  getParentRoute: () => root,
  path: '/',
  component: lazyRouteComponent(() => import('@/features/overview/Overview'), 'Overview'),
});

const rescraping = createRoute({
  getParentRoute: () => root,
  path: '/rescraping',
  component: lazyRouteComponent(
    () => import('@/features/rescraping/ActivePropertiesRescraping'),
    'ActivePropertiesRescraping',
  ),
});

const SHOWN = ['problems', 'manual', 'all'] as const;
const runs = createRoute({
  getParentRoute: () => root,
  path: '/runs',
  validateSearch: (given: Given): { show?: (typeof SHOWN)[number]; schedule?: string } => ({
    show: oneOf(given, 'show', SHOWN),
    schedule: text(given, 'schedule'),
  }),
  component: lazyRouteComponent(() => import('@/features/runs/Runs'), 'Runs'),
});

const TABS = ['locations', 'changes', 'errors', 'log', 'configuration'] as const;
const runPage = createRoute({
  getParentRoute: () => root,
  path: '/runs/$id',
  validateSearch: (given: Given): { tab?: (typeof TABS)[number] } => ({ tab: oneOf(given, 'tab', TABS) }),
  component: lazyRouteComponent(() => import('@/features/runs/RunPage'), 'RunPage'),
});

const properties = createRoute({
  getParentRoute: () => root,
  path: '/properties',
  validateSearch: (given: Given): { q?: string; show?: string; status?: string; city?: string; import?: true } => ({
    q: text(given, 'q'),
    show: text(given, 'show'),
    status: text(given, 'status'),
    city: text(given, 'city'),
    import: given.import === true || undefined,
  }),
  component: lazyRouteComponent(() => import('@/features/properties/Properties'), 'Properties'),
});

const propertyPage = createRoute({
  getParentRoute: () => root,
  path: '/properties/$id',
  component: lazyRouteComponent(() => import('@/features/properties/PropertyPage'), 'PropertyPage'),
});

const settings = createRoute({
  getParentRoute: () => root,
  path: '/settings',
  validateSearch: (given: Given): { tab?: 'sources' | 'keys' } => ({
    tab: oneOf(given, 'tab', ['sources', 'keys'] as const),
  }),
  component: lazyRouteComponent(() => import('@/features/settings/Settings'), 'Settings'),
});

export const router = createRouter({
  routeTree: root.addChildren([overview, rescraping, runs, runPage, properties, propertyPage, settings]),
  defaultPreload: 'intent',
  scrollRestoration: true,
});

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router;
  }
}
