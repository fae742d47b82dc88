// How a person has it with many properties: node web/measure.mjs ADDRESS; prints JSON. `bench/dashboard.py` calls it.
import { chromium } from '@playwright/test';

const [, , address] = process.argv;
const ROUNDS = 5;
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium' });

/** Milliseconds from the start of loading to the first paint of content, and until the headline stands. */
async function firstPaint() {
  const page = await browser.newPage({ viewport: { width: 1360, height: 900 } });
  await page.goto(`${address}/`);
  await page.getByRole('heading', { level: 1 }).waitFor();
  const told = await page.evaluate(() => {
    const paint = performance.getEntriesByType('paint').find((one) => one.name === 'first-contentful-paint');
    return { paint: paint?.startTime ?? -1, headline: performance.now() };
  });
  await page.close();
  return told;
}

/** Scrolls the list to its end, a screen at a time; the times between frames meanwhile. */
async function scroll() {
  const page = await browser.newPage({ viewport: { width: 1360, height: 900 } });
  await page.goto(`${address}/properties`);
  await page.getByRole('row').nth(5).waitFor();
  const total = Number(
    (
      await page
        .getByRole('status')
        .filter({ hasText: /propert/ })
        .innerText()
    ).replaceAll(/\D/g, ''),
  );
  await page.evaluate(() => {
    window.gaps = [];
    let last = performance.now();
    const frame = (now) => {
      window.gaps.push(now - last);
      last = now;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
  let reached = 0;
  let most = 0;
  await page.mouse.move(700, 500);
  for (let still = 0; still < 20; ) {
    await page.mouse.wheel(0, 1200);
    await page.waitForTimeout(30);
    const [rows, last] = await page.evaluate(() => {
      const shown = [...document.querySelectorAll('tr[aria-rowindex]')];
      return [shown.length, Number(shown.at(-1)?.getAttribute('aria-rowindex') ?? 0)];
    });
    most = Math.max(most, rows);
    still = last > reached ? 0 : still + 1;
    reached = Math.max(reached, last);
  }
  const gaps = (await page.evaluate(() => window.gaps)).sort((a, b) => a - b);
  await page.close();
  const at = (share) => gaps[Math.min(gaps.length - 1, Math.floor(gaps.length * share))];
  return {
    total,
    reached,
    rows_in_page: most,
    frames: gaps.length,
    p50: at(0.5),
    p99: at(0.99),
    longest: gaps.at(-1),
    over_100: gaps.filter((one) => one > 100).length,
  };
}

await firstPaint(); // what the browser and the service make only once
const paints = [];
for (let round = 0; round < ROUNDS; round += 1) paints.push(await firstPaint());
console.log(JSON.stringify({ paints, scroll: await scroll() }));
await browser.close();
