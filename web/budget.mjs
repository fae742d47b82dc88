// What a browser has to load before the first page, packed, against what may be: run after a build.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const BUILT = join(import.meta.dirname, '..', 'src', 'mls_crm_sync', 'ui');
const MOST = { js: 260_000, css: 45_000 };

const page = readFileSync(join(BUILT, 'index.html'), 'utf8');
const named = [...page.matchAll(/(?:src|href)="(\/[^"]+\.(js|css))"/g)];
const sums = { js: 0, css: 0 };
for (const [, path, kind] of named) sums[kind] += gzipSync(readFileSync(join(BUILT, path)), { level: 9 }).length;

let over = false;
for (const kind of ['js', 'css']) {
  console.log(`${kind}: ${(sums[kind] / 1000).toFixed(1)} kB of ${MOST[kind] / 1000} kB, packed`);
  over ||= sums[kind] > MOST[kind] || sums[kind] === 0;
}
if (/(?:src|href)="https?:/.test(page)) {
  console.error('the page asks another host');
  over = true;
}
process.exit(over ? 1 : 0);
