import { existsSync } from 'node:fs';
import { defineConfig } from '@playwright/test';

/** Debian's Chromium; elsewhere the one that CHROMIUM names. */
const chromium = process.env.CHROMIUM ?? '/usr/bin/chromium';
if (!existsSync(chromium))
  throw new Error(`No Chromium at ${chromium}; \`apt-get install chromium\`, or name one by CHROMIUM.`);

export default defineConfig({
  testDir: 'e2e',
  testMatch: process.env.SCREENS ? /\.shots\.ts$/ : /\.spec\.ts$/,
  timeout: 90_000,
  expect: { timeout: 10_000 },
  workers: process.env.CI ? 2 : undefined,
  forbidOnly: Boolean(process.env.CI),
  retries: 0, // what fails now and then is a fault to be found
  reporter: [['list']],
  use: {
    launchOptions: { executablePath: chromium },
    viewport: { width: 1360, height: 900 },
    timezoneId: 'America/New_York',
    locale: 'en-US',
    trace: 'retain-on-failure',
  },
  outputDir: 'node_modules/.e2e',
});
