/** What has to stand wherever listings are shown: the office they come from, and what the MLS wants said. */
import { Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { about } from '@/api/queries';

export function Courtesy({ office }: { office: string | null | undefined }) {
  return office ? (
    <Text span inherit>
      Courtesy of {office}
    </Text>
  ) : null;
}

export function Disclaimer() {
  const { data } = useQuery(about);
  return data?.disclaimer ? (
    <Text size="xs" c="dimmed" component="p" m={0}>
      {data.disclaimer}
    </Text>
  ) : null;
}
