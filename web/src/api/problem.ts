/** What the service says when it refuses, as RFC 9457 has it; or what stands for it when it could not be asked. */
export interface ProblemBody {
  code: string;
  title: string;
  detail?: string | null;
  hint?: string | null;
  request_id?: string | null;
  errors?: { field: string; reason: string }[] | null;
}

/** An answer that is no success. `status` 0: there was no answer at all. */
export class Problem extends Error {
  readonly status: number;
  readonly body: ProblemBody;
  /** When it was met, so that whoever reports it can say. */
  readonly at = new Date();

  constructor(status: number, body: ProblemBody) {
    super(body.detail ?? body.title);
    this.name = 'Problem';
    this.status = status;
    this.body = body;
  }

  /** Whether the service is away, rather than of another mind. */
  get isAway(): boolean {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

export function unreachable(): Problem {
  return new Problem(0, {
    code: 'unreachable',
    title: 'The service does not answer',
    detail: 'No answer came from the service.',
    hint: 'See whether `mls-crm-sync serve` still runs; this page goes on by itself once it does.',
  });
}

/** Reads an answer's body, whatever it is, as a problem. */
export function problemOf(status: number, body: unknown): Problem {
  if (typeof body === 'object' && body !== null && 'code' in body && 'title' in body) {
    return new Problem(status, body as ProblemBody);
  }
  return new Problem(status, { code: `http_${status}`, title: `The service answered ${status}` });
}

export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem(-1, {
    code: 'page_error',
    title: 'This page has a fault',
    detail: error instanceof Error ? error.message : String(error),
  });
}

/** What to send to whoever looks after the service. */
export function forSupport(problem: Problem): string {
  const { code, title, detail, request_id } = problem.body;
  return [
    `${title} (${problem.status > 0 ? `HTTP ${problem.status}, ` : ''}${code})`,
    detail,
    request_id ? `request ${request_id}` : null,
    problem.at.toISOString(),
  ]
    .filter(Boolean)
    .join('\n');
}
