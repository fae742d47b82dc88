/** Doing something at the service: what it answered becomes a toast, and every page asks anew. */
import { Anchor, Group, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { asProblem, type Problem } from '@/api/problem';

const UNDO_FOR = 12_000;

export function say(message: ReactNode, color: 'teal' | 'red' | 'orange' = 'teal', undo?: () => void): void {
  const id = crypto.randomUUID();
  notifications.show({
    id,
    color,
    autoClose: undo ? UNDO_FOR : color === 'red' ? 10_000 : 5_000,
    message: (
      <Group justify="space-between" wrap="nowrap" gap="md">
        <Text size="sm">{message}</Text>
        {undo && (
          <Anchor
            component="button"
            type="button"
            size="sm"
            fw={600}
            onClick={() => {
              notifications.hide(id);
              undo();
            }}
          >
            Undo
          </Anchor>
        )}
      </Group>
    ),
  });
}

export function sayProblem(problem: Problem): void {
  const { title, detail, hint } = problem.body;
  say(
    <>
      <b>{title}.</b> {[detail, hint].filter(Boolean).join(' ')}
    </>,
    'red',
  );
}

interface Doing<In, Out> {
  done?: (out: Out, given: In) => void;
  /** Returns true where it has dealt with the problem. */
  failed?: (problem: Problem, given: In) => boolean;
  /** Of what bears the same word one waits for the other: of two requests under way the first may be done last. */
  inTurn?: string;
}

export function useDo<In, Out>(work: (given: In) => Promise<Out>, { done, failed, inTurn }: Doing<In, Out> = {}) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: work,
    scope: inTurn === undefined ? undefined : { id: inTurn },
    onSuccess: async (out, given) => {
      done?.(out, given);
      await client.invalidateQueries({ refetchType: 'active' });
    },
    onError: (error, given) => {
      const problem = asProblem(error);
      if (!failed?.(problem, given)) sayProblem(problem);
      void client.invalidateQueries({ refetchType: 'active' });
    },
  });
}
