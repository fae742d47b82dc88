import { Kbd, Modal, Table } from '@mantine/core';
import { useNavigate } from '@tanstack/react-router';
import { useEffect, useRef } from 'react';

const GO = { o: '/', r: '/rescraping', u: '/runs', p: '/properties', s: '/settings' } as const;

const keys: [string[], string][] = [
  [['Ctrl', 'K'], 'Search or jump to'],
  [['/'], 'Search in this page'],
  [['g', 'o'], 'Overview'],
  [['g', 'r'], 'Re-scraping'],
  [['g', 'u'], 'Runs'],
  [['g', 'p'], 'Properties'],
  [['g', 's'], 'Settings'],
  [['j', 'k'], 'Next and previous row'],
  [['Enter'], 'Open the row'],
  [['Esc'], 'Close'],
  [['?'], 'This list'],
];

/** Milliseconds in which the second key of two has to come. */
const PAIR = 1200;

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
  );
}

/** Moves the focus among the rows of a page, which are marked by `data-row`. */
function step(by: 1 | -1): void {
  const rows = [...document.querySelectorAll<HTMLElement>('[data-row]')].filter((row) => row.offsetParent !== null);
  const at = rows.indexOf(document.activeElement as HTMLElement);
  const next = rows[at === -1 ? (by === 1 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by))];
  next?.focus();
}

export function Shortcuts({ opened, open, close }: { opened: boolean; open: () => void; close: () => void }) {
  const go = useNavigate();
  const since = useRef(0);
  useEffect(() => {
    function heard(event: KeyboardEvent): void {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      if (document.querySelector('[role="dialog"]')) return;
      const second = Date.now() - since.current < PAIR;
      since.current = event.key === 'g' ? Date.now() : 0;
      if (second && event.key in GO) {
        event.preventDefault();
        void go({ to: GO[event.key as keyof typeof GO] });
      } else if (event.key === '?') {
        open();
      } else if (event.key === '/') {
        const search = document.querySelector<HTMLElement>('[data-search]');
        if (search) {
          event.preventDefault();
          search.focus();
        }
      } else if (event.key === 'j' || event.key === 'k') {
        event.preventDefault();
        step(event.key === 'j' ? 1 : -1);
      }
    }
    window.addEventListener('keydown', heard);
    return () => window.removeEventListener('keydown', heard);
  }, [go, open]);
  return (
    <Modal opened={opened} onClose={close} title="Keyboard" closeButtonProps={{ 'aria-label': 'Close' }}>
      <Table>
        <Table.Tbody>
          {keys.map(([pressed, does]) => (
            <Table.Tr key={does}>
              <Table.Td w={120}>
                {pressed.map((one) => (
                  <Kbd key={one} mr={4}>
                    {one}
                  </Kbd>
                ))}
              </Table.Td>
              <Table.Td>{does}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Modal>
  );
}
