/** What the tests of components stand on: the theme, a query client, a service that is played. */
import '@testing-library/jest-dom/vitest';
import { MantineProvider } from '@mantine/core';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { cleanup, render } from '@testing-library/react';
import type { ReactNode } from 'react';
import { afterEach, vi } from 'vitest';
import { theme } from './app/theme';

afterEach(cleanup);

/** Answers by "METHOD /path"; what is asked without an answer fails the test. */
export function playing(answers: Record<string, unknown>): { asked: Request[] } {
  const asked: Request[] = [];
  vi.stubGlobal('fetch', async (request: Request) => {
    asked.push(request.clone());
    const name = `${request.method} ${new URL(request.url).pathname}`;
    if (!(name in answers)) throw new Error(`nobody plays ${name}`);
    const answer = answers[name];
    const body = typeof answer === 'function' ? await answer(request) : answer;
    return body instanceof Response ? body : Response.json(body);
  });
  return { asked };
}

export function shown(page: ReactNode) {
  const queries = new QueryClient({ defaultOptions: { queries: { retry: false } } });
  return render(
    <MantineProvider theme={theme} env="test">
      <QueryClientProvider client={queries}>{page}</QueryClientProvider>
    </MantineProvider>,
  );
}
