import { Button, Center } from '@mantine/core';

interface Asked {
  hasNextPage: boolean;
  isFetchingNextPage: boolean;
  fetchNextPage: () => unknown;
}

/** The button behind a page of a list; nothing where there is no next one. */
export function More({ of: asked }: { of: Asked }) {
  return asked.hasNextPage ? (
    <Center p="sm">
      <Button
        variant="default"
        size="compact-sm"
        loading={asked.isFetchingNextPage}
        onClick={() => void asked.fetchNextPage()}
      >
        Show more
      </Button>
    </Center>
  ) : null;
}
