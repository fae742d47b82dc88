import { Text, type TextProps } from '@mantine/core';
import { instant, relative, shortInstant } from './format';
import { useNow } from './now';
import { useZone } from './preferences';

interface Props extends TextProps {
  at: string | null | undefined;
  /** `both`: the time and how long ago; `relative`: how long ago, the time on hover; `time`: the time alone. */
  as?: 'both' | 'relative' | 'time' | 'full';
  never?: string;
}

/** An instant in the reader's zone. */
export function When({ at, as = 'relative', never = 'never', ...rest }: Props) {
  const zone = useZone();
  const now = useNow();
  if (at == null) {
    return (
      <Text span inherit {...rest}>
        {never}
      </Text>
    );
  }
  const full = instant(at, zone);
  return (
    <Text span inherit {...rest}>
      <time dateTime={at} title={full}>
        {as === 'relative' && relative(at, now)}
        {as === 'full' && full}
        {(as === 'both' || as === 'time') && shortInstant(at, zone, now)}
      </time>
      {as === 'both' && (
        <Text span c="dimmed" size="xs" ml={6}>
          {relative(at, now)}
        </Text>
      )}
    </Text>
  );
}
