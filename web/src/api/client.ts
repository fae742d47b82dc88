import createClient, { type Middleware } from 'openapi-fetch';
import { answered, failed } from './connection';
import { key, keyRefused } from './key';
import { problemOf, unreachable } from './problem';
import type { components, paths } from './schema';

export type Schemas = components['schemas'];

/** Seconds after which a request counts as unanswered. An import or a look-up at a source may take its time. */
const PATIENCE = { read: 15_000, write: 120_000 };

/** Who asks is told by this one; its refusal is the sign-in's business. */
const ME = '/api/me';

async function ask(request: Request): Promise<Response> {
  const limit = request.method === 'GET' ? PATIENCE.read : PATIENCE.write;
  let answer: Response;
  try {
    answer = await fetch(request, { signal: AbortSignal.any([request.signal, AbortSignal.timeout(limit)]) });
  } catch (error) {
    if (request.signal.aborted) throw error; // somebody went to another page
    failed();
    throw unreachable();
  }
  if ([502, 503, 504].includes(answer.status)) failed();
  else answered();
  if (answer.status === 401 && new URL(request.url).pathname !== ME) keyRefused();
  return answer;
}

const withKey: Middleware = {
  onRequest({ request }) {
    const held = key();
    if (held !== null) request.headers.set('Authorization', `Bearer ${held}`);
    return request;
  },
};

export const api = createClient<paths>({ baseUrl: globalThis.location?.origin ?? '', fetch: ask });
api.use(withKey);

type Answer<T> = { data?: T; error?: unknown; response: Response };

/** Returns what was asked for. Throws a Problem for every other answer. */
export async function got<T>(asked: Promise<Answer<T>>): Promise<T> {
  const { data, error, response } = await asked;
  if (!response.ok) throw problemOf(response.status, error);
  return data as T;
}
