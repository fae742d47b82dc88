/** The real service over a real PostgreSQL, as `mls-crm-sync serve` starts it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, createWriteStream, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PYTHON = process.env.PYTHON ?? join(import.meta.dirname, '..', '..', '.venv', 'bin', 'python');
const STARTS = 90_000;
const STOPS = 40_000;

export class Service {
  private readonly home = mkdtempSync(join(tmpdir(), 'mls-crm-sync-e2e-'));
  private readonly log = join(this.home, 'said');
  private process: ChildProcess | null = null;
  private port = 0;
  /** The admin key that the first start prints. */
  adminKey = '';

  constructor(private readonly options: string[] = []) {
    chmodSync(this.home, 0o711); // root's PostgreSQL runs under another account
  }

  get address(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const said = createWriteStream(this.log, { flags: 'w' });
    const child = spawn(PYTHON, ['-m', 'mls_crm_sync', 'serve', '--port', String(this.port), ...this.options], {
      env: { ...process.env, MLS_CRM_SYNC_HOME: join(this.home, 'data'), MLS_CRM_SYNC_MINIMUM_INTERVAL_MINUTES: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.process = child;
    child.stdout?.pipe(said);
    child.stderr?.pipe(said);
    const until = Date.now() + STARTS;
    while (Date.now() < until) {
      const text = this.said();
      const port = /http:\/\/127\.0\.0\.1:(\d+)/.exec(text)?.[1];
      const key = /admin key[^:]*: (\S+)/.exec(text)?.[1];
      if (key !== undefined) this.adminKey = key;
      if (port !== undefined) {
        this.port = Number(port);
        if ((await fetch(`${this.address}/ready`).catch(() => null))?.ok) return;
      }
      if (child.exitCode !== null) break;
      await new Promise((done) => setTimeout(done, 100));
    }
    throw new Error(`the service did not start:\n${this.said()}`);
  }

  async stop(): Promise<void> {
    const child = this.process;
    this.process = null;
    if (child === null || child.exitCode !== null) return;
    const ended = new Promise((done) => child.once('exit', done));
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), STOPS);
    await ended;
    clearTimeout(late);
  }

  forget(): void {
    rmSync(this.home, { recursive: true, force: true });
  }

  /** Asks the API, beside the browser: to set a scene, and to see what really came of it. */
  async ask<T = Record<string, unknown>>(method: string, path: string, body?: unknown): Promise<T> {
    const headers: Record<string, string> = this.options.includes('--require-key')
      ? { Authorization: `Bearer ${this.adminKey}` }
      : {};
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    const answer = await fetch(`${this.address}${path}`, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return (text === '' ? {} : JSON.parse(text)) as T;
  }

  private said(): string {
    try {
      return readFileSync(this.log, 'utf8');
    } catch {
      return '';
    }
  }
}
