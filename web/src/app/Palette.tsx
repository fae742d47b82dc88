/** Ctrl/Cmd-K: pages, what can be done, and properties by address, MLS number or id. */
import { useDebouncedValue } from '@mantine/hooks';
import { Spotlight, type SpotlightActionData, type SpotlightActionGroupData } from '@mantine/spotlight';
import {
  IconHistory,
  IconHome2,
  IconKeyboard,
  IconLayoutDashboard,
  IconPlayerPlay,
  IconRefresh,
  IconSearch,
  IconSettings,
  IconUpload,
} from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { api, got } from '@/api/client';
import { useRefusal } from '@/shared/Act';
import { say, useDo } from '@/shared/doing';
import { money } from '@/shared/format';

export function Palette({ openHelp }: { openHelp: () => void }) {
  const go = useNavigate();
  const [query, setQuery] = useState('');
  const [asked] = useDebouncedValue(query.trim(), 180);
  const found = useQuery({
    queryKey: ['palette', asked],
    enabled: asked.length >= 2,
    queryFn: ({ signal }) =>
      got(api.GET('/api/property-summaries', { params: { query: { q: asked, limit: 6 } }, signal })),
  });
  const mayRun = useRefusal('run');
  const run = useDo(() => got(api.POST('/api/active-properties/run', {})), {
    done: (made) => {
      say(`Run #${made.run_id} ${made.message}.`);
      void go({ to: '/rescraping' });
    },
  });
  const properties: SpotlightActionData[] = (found.data?.items ?? []).map((one) => ({
    id: `property-${one.id}`,
    label: one.address ?? one.id,
    description: [one.id, one.mls_number && `MLS ${one.mls_number}`, one.list_price && money(one.list_price)]
      .filter(Boolean)
      .join(' · '),
    keywords: [query],
    leftSection: <IconHome2 size={18} aria-hidden />,
    onClick: () => void go({ to: '/properties/$id', params: { id: one.id } }),
  }));
  const actions: (SpotlightActionGroupData | SpotlightActionData)[] = [
    {
      group: 'Go to',
      actions: [
        {
          id: 'overview',
          label: 'Overview',
          leftSection: <IconLayoutDashboard size={18} />,
          onClick: () => void go({ to: '/' }),
        },
        {
          id: 'rescraping',
          label: 'Re-scraping',
          description: 'When active properties are read anew',
          leftSection: <IconRefresh size={18} />,
          onClick: () => void go({ to: '/rescraping' }),
        },
        { id: 'runs', label: 'Runs', leftSection: <IconHistory size={18} />, onClick: () => void go({ to: '/runs' }) },
        {
          id: 'properties',
          label: 'Properties',
          leftSection: <IconHome2 size={18} />,
          onClick: () => void go({ to: '/properties' }),
        },
        {
          id: 'settings',
          label: 'Settings',
          description: 'Sources and keys',
          leftSection: <IconSettings size={18} />,
          onClick: () => void go({ to: '/settings' }),
        },
      ],
    },
    {
      group: 'Do',
      actions: [
        ...(mayRun === null
          ? [
              {
                id: 'run',
                label: 'Run re-scraping now',
                leftSection: <IconPlayerPlay size={18} />,
                onClick: () => run.mutate(undefined),
              },
            ]
          : []),
        {
          id: 'import',
          label: 'Import CRM properties',
          leftSection: <IconUpload size={18} />,
          onClick: () => void go({ to: '/properties', search: { import: true } }),
        },
        { id: 'keys', label: 'Keyboard shortcuts', leftSection: <IconKeyboard size={18} />, onClick: openHelp },
      ],
    },
    ...(properties.length > 0 ? [{ group: 'Properties', actions: properties }] : []),
  ];
  return (
    <Spotlight
      actions={actions}
      query={query}
      onQueryChange={setQuery}
      shortcut={['mod + K']}
      limit={12}
      highlightQuery
      scrollable
      maxHeight={420}
      attributes={{ content: { 'aria-label': 'Search or jump to' } }}
      nothingFound={found.isFetching ? 'Looking…' : 'Nothing is called so'}
      searchProps={{
        leftSection: <IconSearch size={18} aria-hidden />,
        placeholder: 'A page, an address, an MLS number or an id',
        'aria-label': 'Search or jump to',
      }}
    />
  );
}
