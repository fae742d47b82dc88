import { Box, Group, Text, VisuallyHidden } from '@mantine/core';
import type { Schemas } from '@/api/client';
import { count, span } from '@/shared/format';
import { Panel } from '@/shared/Panel';

function name(band: Schemas['FreshnessBand']): string {
  if (band.to_seconds === null) return `${short(band.from_seconds)}+`;
  return `<${short(band.to_seconds)}`;
}

function short(seconds: number): string {
  return seconds >= 86_400 && seconds % 86_400 === 0 ? `${seconds / 86_400} d` : `${seconds / 3600} h`;
}

/** How long ago the listings of active properties were seen. */
export function Freshness({ of: seen }: { of: Schemas['Overview'] }) {
  const most = Math.max(1, ...seen.freshness.map((band) => band.properties));
  return (
    <Panel
      title="Freshness of active properties"
      right={
        <Group gap={6}>
          <span className="sw band" data-stale aria-hidden />
          <Text size="xs" c="dimmed">
            stale after {span(seen.stale_after_seconds)}
          </Text>
        </Group>
      }
    >
      <div className="bands" aria-hidden>
        {seen.freshness.map((band) => (
          <Box
            key={band.from_seconds}
            className="band"
            data-stale={band.from_seconds >= seen.stale_after_seconds || undefined}
            data-empty={band.properties === 0 || undefined}
            style={{ height: `${(band.properties / most) * 100}%` }}
          />
        ))}
      </div>
      <div className="bands" style={{ height: 'auto', marginTop: 4 }} aria-hidden>
        {seen.freshness.map((band) => (
          <div key={band.from_seconds} style={{ textAlign: 'center' }}>
            <Text size="xs" className="num" fw={600}>
              {count(band.properties)}
            </Text>
            <Text size="xs" c="dimmed">
              {name(band)}
            </Text>
          </div>
        ))}
      </div>
      <VisuallyHidden>
        <table>
          <caption>Active linked properties by how long ago their listing was seen</caption>
          <tbody>
            {seen.freshness.map((band) => (
              <tr key={band.from_seconds}>
                <th scope="row">{name(band)}</th>
                <td>{count(band.properties)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </VisuallyHidden>
      {seen.never_seen > 0 && (
        <Text size="xs" c="dimmed" mt={6}>
          {count(seen.never_seen)} never seen
        </Text>
      )}
    </Panel>
  );
}
