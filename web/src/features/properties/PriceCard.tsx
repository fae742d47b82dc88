/** The price over time as steps; the same as a table for whoever does not see it. */
import { Text, VisuallyHidden } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import type { Schemas } from '@/api/client';
import { listing, listingChanges } from '@/api/queries';
import { money, priceChange, shortInstant, shortMoney } from '@/shared/format';
import { useNow } from '@/shared/now';
import { Loaded, Panel } from '@/shared/Panel';
import { useZone } from '@/shared/preferences';

export interface Step {
  /** UTC, ISO. */
  at: string;
  /** Decimal text. */
  price: string;
}

/** The prices of a listing, oldest first: what it was before the first change, and what each change made of it. */
export function stepsOf(changes: Schemas['Change'][], since: string, price: string | undefined): Step[] {
  const moved = changes.filter((one) => one.field_name === 'ListPrice').reverse();
  const first = moved[0]?.previous_value ?? (moved.length === 0 ? price : null);
  const steps: Step[] = first == null ? [] : [{ at: since, price: String(first) }];
  for (const one of moved) if (one.new_value != null) steps.push({ at: one.at, price: String(one.new_value) });
  return steps;
}

export function PriceCard({ listing: id, price }: { listing: string; price: string | undefined }) {
  const changes = useQuery(listingChanges(id));
  const about = useQuery(listing(id));
  return (
    <Panel
      title="List price"
      right={
        <Text fw={650} className="num">
          {money(price)}
        </Text>
      }
    >
      <Loaded of={changes}>
        {(page) => (
          <Chart
            steps={stepsOf(page.items, about.data?.first_seen_at ?? page.items[page.items.length - 1]?.at ?? '', price)}
          />
        )}
      </Loaded>
    </Panel>
  );
}

const WIDTH = 320;
const HEIGHT = 150;
const LEFT = 48;
const BOTTOM = 20;
const TOP = 8;

/** Round numbers that lie within, at most four. */
export function ticks(low: number, high: number): number[] {
  const size = 10 ** Math.floor(Math.log10(Math.max(1, high - low)));
  for (const step of [size / 2, size, size * 2, size * 5, size * 10]) {
    const first = Math.ceil(low / step) * step;
    const found = Array.from({ length: Math.floor((high - first) / step) + 1 }, (_, place) => first + place * step);
    if (found.length <= 4) return found;
  }
  return [];
}

function Chart({ steps }: { steps: Step[] }) {
  const zone = useZone();
  const now = useNow();
  const first = steps[0];
  const last = steps[steps.length - 1];
  if (first === undefined || last === undefined) {
    return (
      <Text size="sm" c="dimmed">
        Its price is not known.
      </Text>
    );
  }
  const change = priceChange(first.price, last.price);
  if (steps.length === 1) {
    return (
      <Text size="xs" c="dimmed">
        No change since {shortInstant(first.at, zone, now)}
      </Text>
    );
  }
  const from = new Date(first.at).getTime();
  const until = Math.max(now.getTime(), from + 1);
  const prices = steps.map((step) => Number(step.price));
  const spread = Math.max(...prices) - Math.min(...prices) || Math.max(...prices) * 0.02;
  const low = Math.min(...prices) - spread * 0.15;
  const high = Math.max(...prices) + spread * 0.1;
  const x = (at: string | number) => LEFT + ((new Date(at).getTime() - from) / (until - from)) * (WIDTH - LEFT - 6);
  const y = (price: number) => TOP + (1 - (price - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const line = steps
    .map(
      (step, place) =>
        `${place === 0 ? 'M' : 'H'}${x(step.at).toFixed(1)}${place === 0 ? ',' : 'V'}${y(Number(step.price)).toFixed(1)}`,
    )
    .join('');
  const whole = `${line}H${x(until).toFixed(1)}`;
  return (
    <figure style={{ margin: 0 }}>
      <Text size="xs" c="dimmed" mb={6}>
        {change ?? 'changed'} since {shortInstant(first.at, zone, now)}, {steps.length - 1}{' '}
        {steps.length === 2 ? 'change' : 'changes'}
      </Text>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        width="100%"
        aria-hidden
        style={{ display: 'block', overflow: 'visible' }}
      >
        {ticks(low, high).map((tick) => (
          <g key={tick}>
            <line x1={LEFT} x2={WIDTH - 6} y1={y(tick)} y2={y(tick)} stroke="var(--mantine-color-default-border)" />
            <text x={LEFT - 6} y={y(tick) + 4} fontSize={11} textAnchor="end" fill="var(--mantine-color-dimmed)">
              {shortMoney(tick)}
            </text>
          </g>
        ))}
        <path d={`${whole}V${HEIGHT - BOTTOM}H${LEFT}Z`} fill="var(--run)" opacity={0.12} />
        <path d={whole} fill="none" stroke="var(--run)" strokeWidth={2} />
        {steps.map((step) => (
          <circle
            key={`${step.at}${step.price}`}
            cx={x(step.at)}
            cy={y(Number(step.price))}
            r={3.2}
            fill="var(--run)"
          />
        ))}
        <text x={LEFT} y={HEIGHT - 5} fontSize={11} fill="var(--mantine-color-dimmed)">
          {shortInstant(first.at, zone, now)}
        </text>
        <text x={WIDTH - 6} y={HEIGHT - 5} fontSize={11} textAnchor="end" fill="var(--mantine-color-dimmed)">
          now
        </text>
      </svg>
      <VisuallyHidden>
        <table>
          <caption>List price over time</caption>
          <tbody>
            {steps.map((step) => (
              <tr key={`${step.at}${step.price}`}>
                <th scope="row">{shortInstant(step.at, zone, now)}</th>
                <td>{money(step.price)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </VisuallyHidden>
    </figure>
  );
}
