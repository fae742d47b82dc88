/** Runs, newest first; a row opens what came of each location. On a phone a list of cards. */
import {
  ActionIcon,
  Badge,
  Box,
  Button,
  Center,
  Group,
  SegmentedControl,
  Stack,
  Table,
  Text,
  UnstyledButton,
  VisuallyHidden,
} from '@mantine/core';
import { IconChevronRight } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { Fragment, type ReactNode, useState } from 'react';
import type { Schemas } from '@/api/client';
import { newestRuns, type RunFilter } from '@/api/queries';
import { changed, updated, when } from '@/features/rescraping/RunStrip';
import { count, duration } from '@/shared/format';
import { PageLink } from '@/shared/links';
import { Lines, Loaded, Panel } from '@/shared/Panel';
import { RUN, Status } from '@/shared/status';
import { When } from '@/shared/When';
import { RunDetail } from './RunDetail';

type Run = Schemas['Run'];
export type Shown = 'all' | 'problems' | 'manual';

const NARROWED: Record<Shown, RunFilter> = {
  all: {},
  problems: { status: ['failed', 'partial', 'missed'] },
  manual: { trigger: ['manual'] },
};

interface Props {
  title: string;
  filter?: RunFilter;
  size?: number;
  shown?: Shown;
  onShown?: (shown: Shown) => void;
  right?: ReactNode;
}

export function RunTable({ title, filter = {}, size = 50, shown, onShown, right }: Props) {
  const [own, setOwn] = useState<Shown>('all');
  const [asked, setAsked] = useState(size);
  const [open, setOpen] = useState<number | null>(null);
  const show = shown ?? own;
  const runs = useQuery(newestRuns({ ...filter, ...NARROWED[show] }, asked));
  const toggle = (id: number) => setOpen(open === id ? null : id);
  return (
    <Panel
      flush
      title={title}
      right={
        <Group gap="sm">
          {right}
          <SegmentedControl
            size="xs"
            aria-label="Which runs"
            value={show}
            onChange={(value) => (onShown ?? setOwn)(value as Shown)}
            data={[
              { value: 'all', label: 'All' },
              { value: 'problems', label: 'Problems' },
              { value: 'manual', label: 'Manual' },
            ]}
          />
        </Group>
      }
    >
      <Loaded
        of={runs}
        skeleton={
          <Box px="md" pb="md">
            <Lines rows={6} height={28} />
          </Box>
        }
      >
        {(page) =>
          page.items.length === 0 ? (
            <Text size="sm" c="dimmed" px="md" pb="md">
              {show === 'all' ? 'No run yet.' : 'None of the runs is so.'}
            </Text>
          ) : (
            <>
              <Wide runs={page.items} open={open} toggle={toggle} />
              <Narrow runs={page.items} open={open} toggle={toggle} />
              {page.next_cursor !== null && asked < 1000 && (
                <Center p="sm">
                  <Button variant="default" size="compact-sm" onClick={() => setAsked(Math.min(1000, asked * 2))}>
                    Show more
                  </Button>
                </Center>
              )}
            </>
          )
        }
      </Loaded>
    </Panel>
  );
}

interface RowsProps {
  runs: Run[];
  open: number | null;
  toggle: (id: number) => void;
}

/** Due times of which no run was made have nothing behind them but why. */
export function wasMade(run: Run): boolean {
  return run.status !== 'skipped' && run.status !== 'missed';
}

function Wide({ runs, open, toggle }: RowsProps) {
  const go = useNavigate();
  return (
    <Box visibleFrom="sm">
      <Table.ScrollContainer minWidth={720}>
        <Table verticalSpacing={8} highlightOnHover className="num" fz="sm">
          <Table.Thead>
            <Table.Tr>
              <Table.Th w={36}>
                <VisuallyHidden>Details</VisuallyHidden>
              </Table.Th>
              <Table.Th>Run</Table.Th>
              <Table.Th>Status</Table.Th>
              <Table.Th>When</Table.Th>
              <Table.Th ta="right">Duration</Table.Th>
              <Table.Th ta="right">Locations</Table.Th>
              <Table.Th ta="right">Changed</Table.Th>
              <Table.Th ta="right">CRM updated</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {runs.map((run) => (
              <Fragment key={run.run_id}>
                <Table.Tr
                  data-row
                  tabIndex={0}
                  onClick={() => toggle(run.run_id)}
                  onKeyDown={(event) => {
                    if (event.key === 'Enter' && event.target === event.currentTarget) {
                      void go({ to: '/runs/$id', params: { id: String(run.run_id) } });
                    }
                  }}
                >
                  <Table.Td>
                    <ActionIcon
                      variant="subtle"
                      color="gray"
                      size="sm"
                      tabIndex={0}
                      aria-expanded={open === run.run_id}
                      aria-label={`Details of run ${run.run_id}`}
                      onClick={(event) => {
                        event.stopPropagation();
                        toggle(run.run_id);
                      }}
                    >
                      <IconChevronRight
                        size={15}
                        style={{
                          transform: open === run.run_id ? 'rotate(90deg)' : undefined,
                          transition: 'transform .12s',
                        }}
                      />
                    </ActionIcon>
                  </Table.Td>
                  <Table.Td>
                    {wasMade(run) ? (
                      <PageLink
                        to="/runs/$id"
                        params={{ id: String(run.run_id) }}
                        inherit
                        onClick={(event) => event.stopPropagation()}
                      >
                        #{run.run_id}
                      </PageLink>
                    ) : (
                      <Text span inherit c="dimmed">
                        {run.due_times > 1 ? `${count(run.due_times)} due times` : 'due time'}
                      </Text>
                    )}{' '}
                    <Trigger of={run} />
                  </Table.Td>
                  <Table.Td>
                    <Status of={run.status} as={RUN} />
                  </Table.Td>
                  <Table.Td>
                    <When at={when(run)} as="both" />
                  </Table.Td>
                  <Table.Td ta="right">{wasMade(run) ? duration(run.duration_ms) : ''}</Table.Td>
                  <Table.Td ta="right">{wasMade(run) ? `${run.finished_locations}/${run.locations}` : ''}</Table.Td>
                  <Table.Td ta="right">{wasMade(run) ? count(changed(run)) : ''}</Table.Td>
                  <Table.Td ta="right">{wasMade(run) ? count(updated(run)) : ''}</Table.Td>
                </Table.Tr>
                {open === run.run_id && (
                  <Table.Tr>
                    <Table.Td colSpan={8} p={0}>
                      <Box
                        px="md"
                        py="sm"
                        style={{ borderInlineStart: '3px solid var(--mantine-primary-color-filled)' }}
                      >
                        <RunDetail run={run} />
                      </Box>
                    </Table.Td>
                  </Table.Tr>
                )}
              </Fragment>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </Box>
  );
}

function Trigger({ of: run }: { of: Run }) {
  if (run.attempt_of !== null) {
    return (
      <Badge size="xs" variant="default">
        retry of #{run.attempt_of}
      </Badge>
    );
  }
  return run.trigger === 'scheduled' ? null : (
    <Text span size="xs" c="dimmed">
      {run.trigger.replaceAll('_', ' ')}
    </Text>
  );
}

function Narrow({ runs, open, toggle }: RowsProps) {
  return (
    <Stack hiddenFrom="sm" gap={0} component="ul" className="plain-list">
      {runs.map((run) => (
        <Box
          component="li"
          key={run.run_id}
          px="md"
          py="xs"
          style={{ borderTop: '1px solid var(--mantine-color-default-border)' }}
        >
          <UnstyledButton
            w="100%"
            data-row
            className="row"
            onClick={() => toggle(run.run_id)}
            aria-expanded={open === run.run_id}
          >
            <Group justify="space-between" wrap="nowrap">
              <div>
                <Text fw={600} size="sm" className="num" component="div">
                  {wasMade(run) ? `#${run.run_id}` : `${run.due_times} due`}{' '}
                  <Text span c="dimmed" fw={400} size="sm">
                    <When at={when(run)} as="time" />
                  </Text>
                </Text>
                <Text size="xs" c="dimmed" className="num">
                  {wasMade(run)
                    ? `${duration(run.duration_ms)} · ${run.finished_locations}/${run.locations} locations · ${count(updated(run))} updated`
                    : (run.reason ?? '')}
                </Text>
              </div>
              <Status of={run.status} as={RUN} />
            </Group>
          </UnstyledButton>
          {open === run.run_id && (
            <Box pt="xs">
              <RunDetail run={run} />
            </Box>
          )}
        </Box>
      ))}
    </Stack>
  );
}
