import { Tabs } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { about, useMay } from '@/api/queries';
import { Page } from '@/shared/Page';
import { Keys } from './Keys';
import { Sources } from './Sources';

const here = getRouteApi('/settings');

export function Settings() {
  const { tab } = here.useSearch();
  const go = here.useNavigate();
  const told = useQuery(about);
  const mayKeys = useMay('admin');
  return (
    <Page title="Settings" below={told.data ? `mls-crm-sync ${told.data.version}` : undefined}>
      <Tabs
        value={tab ?? 'sources'}
        onChange={(next) => void go({ search: { tab: next === 'keys' ? 'keys' : undefined }, replace: true })}
        keepMounted={false}
      >
        <Tabs.List mb="md">
          <Tabs.Tab value="sources">Sources</Tabs.Tab>
          {mayKeys !== false && <Tabs.Tab value="keys">API keys</Tabs.Tab>}
        </Tabs.List>
        <Tabs.Panel value="sources">
          <Sources />
        </Tabs.Panel>
        <Tabs.Panel value="keys">
          <Keys />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}
