import { List, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { sources } from '@/api/queries';
import { PageLink } from '@/shared/links';
import { Panel } from '@/shared/Panel';

/** What a new installation needs, in its order. */
export function FirstSteps() {
  const { data } = useQuery(sources);
  const has = (data?.items.length ?? 0) > 0;
  return (
    <Panel title="Three steps to the first property in step">
      <List type="ordered" spacing="xs" size="sm">
        <List.Item>
          {has ? (
            <Text span size="sm" td="line-through">
              Connect a source
            </Text>
          ) : (
            <PageLink to="/settings" search={{ tab: 'sources' }} size="sm">
              Connect a source
            </PageLink>
          )}
          : where listings are read.
        </List.Item>
        <List.Item>
          <PageLink to="/properties" search={{ import: true }} size="sm">
            Import your CRM's properties
          </PageLink>{' '}
          and link the first one to its listing.
        </List.Item>
        <List.Item>
          <PageLink to="/rescraping" size="sm">
            Switch the schedule on
          </PageLink>
          : active properties are read anew from then on.
        </List.Item>
      </List>
    </Panel>
  );
}
