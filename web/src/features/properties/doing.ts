import { api, got } from '@/api/client';
import { say, useDo } from '@/shared/doing';
import { many } from '@/shared/format';

export function useLink(id: string, done?: () => void) {
  const unlink = useDo(
    () =>
      got(api.DELETE('/api/properties/{id}/unlink-mls', { params: { path: { id }, query: { restore_own: true } } })),
    {
      done: () => say('The link is cut again; the CRM has its own values.'),
    },
  );
  return useDo(
    ({ listing, move }: { listing: string; move: boolean }) =>
      got(
        api.POST('/api/properties/{id}/link-mls', {
          params: { path: { id } },
          body: { mls_property_id: listing, move },
        }),
      ),
    {
      done: (told, { move }) => {
        const filled = told.field_names.length;
        const text = told.linked
          ? `Linked; ${many(filled, 'field')} followed.`
          : 'It was linked to this listing already.';
        say(text, 'teal', told.linked && !move ? () => unlink.mutate(undefined) : undefined);
        done?.();
      },
    },
  );
}

export function useUnlink(id: string) {
  const relink = useDo(
    (listing: string) =>
      got(api.POST('/api/properties/{id}/link-mls', { params: { path: { id } }, body: { mls_property_id: listing } })),
    { done: () => say('Linked again.') },
  );
  return useDo(
    (restore: boolean) =>
      got(api.DELETE('/api/properties/{id}/unlink-mls', { params: { path: { id }, query: { restore_own: restore } } })),
    {
      done: (told) =>
        say(
          told.restored_own ? 'Unlinked; the CRM has its own values again.' : 'Unlinked; the values stay as they were.',
          'teal',
          () => relink.mutate(told.mls_property_id),
        ),
    },
  );
}

export function useSync(id: string) {
  return useDo(
    (refresh: boolean) =>
      got(api.POST('/api/properties/{id}/sync-from-mls', { params: { path: { id } }, body: { refresh } })),
    {
      done: (told) => {
        const asked = SAID[told.source_answer ?? ''] ?? '';
        const unsure = told.source_answer === 'unknown' && told.source_detail ? ` (${told.source_detail})` : '';
        say(
          `${told.changed ? `Brought in step: ${many(told.field_names.length, 'field')} changed.` : 'In step already.'}${asked}${unsure}`,
          told.source_answer === 'unknown' || told.source_answer === 'not_there' ? 'orange' : 'teal',
        );
      },
    },
  );
}

const SAID: Record<string, string> = {
  found: ' The source was asked for it just now.',
  not_there: ' The source does not show it just now.',
  unknown: ' The source could not be asked.',
};
