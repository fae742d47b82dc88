/** The last runs of a schedule, oldest first: one tab stop, arrows move, Enter opens. */
import { Group, Text } from '@mantine/core';
import { type KeyboardEvent, useState } from 'react';
import type { Schemas } from '@/api/client';
import { count, duration, instant, shortInstant } from '@/shared/format';
import { useNow } from '@/shared/now';
import { useZone } from '@/shared/preferences';
import { RUN } from '@/shared/status';

type Run = Schemas['Run'];

const LEGEND = [
  ['succeeded', 'Succeeded'],
  ['partial', 'Partly done'],
  ['failed', 'Failed'],
  ['missed', 'Missed or skipped'],
] as const;

const PROBLEMS = new Set(['failed', 'partial', 'missed']);

export function Legend() {
  return (
    <Group gap="md" visibleFrom="sm" aria-hidden>
      {LEGEND.map(([status, label]) => (
        <Group key={status} gap={6}>
          <span className={`sw bar ${status}`} />
          <Text size="xs" c="dimmed">
            {label}
          </Text>
        </Group>
      ))}
      <Text size="xs" c="dimmed">
        Height = duration
      </Text>
    </Group>
  );
}

export function when(run: Run): string {
  return run.scheduled_for ?? run.started_at ?? run.made_at;
}

interface Props {
  runs: Run[];
  onOpen: (run: Run) => void;
}

export function RunStrip({ runs, onOpen }: Props) {
  const zone = useZone();
  const now = useNow();
  const list = [...runs].reverse();
  const [chosen, setChosen] = useState<number | null>(null);
  const [hovered, setHovered] = useState<number | null>(null);
  const longest = Math.max(1, ...list.map((run) => run.duration_ms ?? 0));
  const at = Math.max(0, chosen === null ? list.length - 1 : list.findIndex((run) => run.run_id === chosen));
  const shown = list[hovered ?? at];
  if (shown === undefined) {
    return (
      <Text size="sm" c="dimmed">
        No run yet.
      </Text>
    );
  }
  const label = (run: Run) =>
    `Run ${run.run_id}, ${RUN[run.status]?.word}, ${shortInstant(when(run), zone, now)}, ${duration(run.duration_ms)}`;

  function move(to: number): void {
    const next = list[Math.min(list.length - 1, Math.max(0, to))];
    if (next) setChosen(next.run_id);
  }

  function pressed(event: KeyboardEvent): void {
    const moves: Record<string, number> = {
      ArrowLeft: at - 1,
      ArrowRight: at + 1,
      Home: 0,
      End: list.length - 1,
      PageUp: at - 12,
      PageDown: at + 12,
    };
    const to = moves[event.key];
    if (to !== undefined) move(to);
    else if (event.key === 'n') {
      const next = list.findIndex((run, place) => place > at && PROBLEMS.has(run.status));
      if (next >= 0) move(next);
    } else if ((event.key === 'Enter' || event.key === ' ') && list[at]) onOpen(list[at]);
    else return;
    event.preventDefault();
  }

  return (
    <div>
      <div
        className="strip"
        role="listbox"
        aria-orientation="horizontal"
        aria-label="Runs, oldest first. Arrow keys move, n goes to the next problem, Enter opens."
        tabIndex={0}
        aria-activedescendant={`run-${list[at]?.run_id}`}
        onKeyDown={pressed}
        onMouseLeave={() => setHovered(null)}
      >
        {list.map((run, place) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: the list has the keys
          <div
            key={run.run_id}
            id={`run-${run.run_id}`}
            role="option"
            tabIndex={-1}
            aria-selected={place === at}
            aria-label={label(run)}
            className="slot"
            data-on={hovered === place || undefined}
            onMouseEnter={() => setHovered(place)}
            onClick={() => onOpen(run)}
          >
            <div
              className={`bar ${run.status}`}
              data-sel={place === at || undefined}
              style={{ height: `${Math.max(10, ((run.duration_ms ?? 0) / longest) * 100)}%` }}
            />
          </div>
        ))}
      </div>
      <Text size="xs" className="num" mt={6}>
        <b>#{shown.run_id}</b> {RUN[shown.status]?.word} · {instant(when(shown), zone)} · {duration(shown.duration_ms)}{' '}
        · {count(changed(shown))} changed{shown.reason ? ` · ${shown.reason}` : ''}
      </Text>
    </div>
  );
}

export function changed(run: Run): number {
  return Number(run.counts.changed ?? 0);
}

export function updated(run: Run): number {
  return Number(run.counts.crm_updated ?? 0);
}
