import { Text, Timeline } from '@mantine/core';
import { IconLink, IconLock, IconPencil, IconUnlink } from '@tabler/icons-react';
import { useInfiniteQuery } from '@tanstack/react-query';
import type { Schemas } from '@/api/client';
import { history } from '@/api/queries';
import { shownAs } from '@/shared/change';
import { many } from '@/shared/format';
import { PageLink } from '@/shared/links';
import { More } from '@/shared/More';
import { Loaded, Panel } from '@/shared/Panel';
import { useZone } from '@/shared/preferences';
import { When } from '@/shared/When';

type Happening = Schemas['Happening'];

/** Changes that one run found stand together. */
export function grouped(all: Happening[]): Happening[][] {
  const groups: Happening[][] = [];
  for (const one of all) {
    const last = groups[groups.length - 1];
    const first = last?.[0];
    if (first && first.kind === 'change' && one.kind === 'change' && first.run_id === one.run_id) last?.push(one);
    else groups.push([one]);
  }
  return groups;
}

export function History({ id }: { id: string }) {
  const asked = useInfiniteQuery(history(id));
  return (
    <Panel title="Changes">
      <Loaded of={asked}>
        {(data) => {
          const groups = grouped(data.pages.flatMap((page) => page.items));
          if (groups.length === 0) {
            return (
              <Text size="sm" c="dimmed">
                Nothing has happened to its facts yet.
              </Text>
            );
          }
          return (
            <>
              <Timeline bulletSize={20} lineWidth={2}>
                {groups.map((group) => (
                  <Bunch
                    key={`${group[0]?.kind}-${group[0]?.at}-${group[0]?.run_id}-${group[0]?.field_name}`}
                    of={group}
                  />
                ))}
              </Timeline>
              <More of={asked} />
            </>
          );
        }}
      </Loaded>
    </Panel>
  );
}

function Bunch({ of: group }: { of: Happening[] }) {
  const first = group[0];
  if (first === undefined) return null;
  if (first.kind !== 'change') {
    const linked = first.kind === 'linked';
    return (
      <Timeline.Item
        bullet={linked ? <IconLink size={12} aria-hidden /> : <IconUnlink size={12} aria-hidden />}
        title={<Text size="sm">{linked ? 'Linked to a listing' : 'Link cut'}</Text>}
      >
        <Text size="xs" c="dimmed" className="wrap">
          {first.property_id} · <When at={first.at} as="both" />
        </Text>
      </Timeline.Item>
    );
  }
  const held = group.every((one) => one.crm === 'held_by_override');
  return (
    <Timeline.Item
      bullet={held ? <IconLock size={12} aria-hidden /> : <IconPencil size={12} aria-hidden />}
      title={
        <Text size="sm" component="div">
          {group.map((one) => (
            <Change key={one.field_name} of={one} />
          ))}
        </Text>
      }
    >
      <Text size="xs" c="dimmed">
        {group.length > 1 ? `${many(group.length, 'field')} · ` : ''}
        {first.type === 'renormalised' ? 'read anew from what was stored' : 'MLS'}
        {first.run_id !== null && (
          <>
            {' · '}
            {first.run_kind === 'scheduled' || first.run_kind === 'manual' ? (
              <PageLink to="/runs/$id" params={{ id: String(first.run_id) }} size="xs">
                run #{first.run_id}
              </PageLink>
            ) : (
              `${(first.run_kind ?? 'run').replaceAll('_', ' ')} #${first.run_id}`
            )}
          </>
        )}
        {' · '}
        <When at={first.at} />
      </Text>
    </Timeline.Item>
  );
}

const WHAT: Record<string, string> = { held_by_override: 'held by the override', not_copied: 'kept between members' };

function Change({ of: one }: { of: Happening }) {
  const zone = useZone();
  return (
    <div className="wrap num" dir="auto">
      {one.label}{' '}
      <Text span inherit c="dimmed">
        {shownAs(one, one.previous_value, zone, 60)}
      </Text>{' '}
      → {shownAs(one, one.new_value, zone, 60)}
      {one.crm && WHAT[one.crm] && (
        <Text span size="xs" c="dimmed">
          {' '}
          ({WHAT[one.crm]})
        </Text>
      )}
    </div>
  );
}
