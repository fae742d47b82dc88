/** WCAG 2.2 AA by axe, on every page, light, dark and as wide as a phone; and nothing scrolls sideways. */
import AxeBuilder from '@axe-core/playwright';
import { expect, open, test } from './world';

const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

const looks = [
  { name: 'light', colorScheme: 'light', viewport: { width: 1360, height: 900 } },
  { name: 'dark', colorScheme: 'dark', viewport: { width: 1360, height: 900 } },
  { name: 'phone', colorScheme: 'light', viewport: { width: 390, height: 844 } },
  { name: 'dark phone', colorScheme: 'dark', viewport: { width: 390, height: 844 } },
] as const;

for (const { name, colorScheme, viewport } of looks) {
  test(`every page, ${name}`, async ({ browser, world }) => {
    test.setTimeout(240_000);
    const zip = `07${String(looks.findIndex((look) => look.name === name)).padStart(3, '0')}`;
    const id = await world.linked(`axe-${name.replace(' ', '-')}`, zip);
    await world.service.ask('PATCH', `/api/properties/${id}`, { overrides: { ListPrice: 510_000 }, reason: 'agreed' });
    world.mls.change(`axe-${name.replace(' ', '-')}`, { ListPrice: 480_000 });
    world.mls.broken.add(zip);
    await world.run();
    world.mls.broken.clear();
    const { run_id } = await world.run();
    await world.service.ask('POST', '/api/properties', { id: `axe-loose-${zip}` });

    const context = await browser.newContext({ colorScheme, viewport, baseURL: world.service.address });
    const page = await context.newPage();
    const scan = async (what: string) => {
      await page.waitForTimeout(350); // what fades in has its colours only then
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      expect(wide, `${what} scrolls sideways`).toBeLessThanOrEqual(0);
      const { violations } = await new AxeBuilder({ page }).withTags(RULES).analyze();
      const told = violations.map((one) => [
        one.id,
        one.help,
        ...one.nodes.slice(0, 4).map((node) => node.html.slice(0, 200)),
      ]);
      expect(told, what).toEqual([]);
    };
    for (const path of [
      '/',
      '/rescraping',
      '/runs',
      `/runs/${run_id}`,
      `/runs/${run_id}?tab=changes`,
      `/runs/${run_id}?tab=errors`,
      `/runs/${run_id}?tab=log`,
      `/runs/${run_id}?tab=configuration`,
      '/properties',
      `/properties/${id}`,
      `/properties/axe-loose-${zip}`,
      '/settings',
      '/settings?tab=keys',
      '/nowhere',
    ]) {
      await open(page, path);
      await scan(path);
    }
    await page.goto('/properties?import=true');
    await expect(page.getByRole('dialog')).toBeVisible();
    await scan('the import');
    await page.goto('/settings');
    await page.getByRole('button', { name: 'Connect a source' }).click();
    await expect(page.getByRole('dialog')).toBeVisible();
    await scan('a new source');
    await page.goto('/rescraping');
    await page.getByRole('button', { name: 'Search or jump to' }).click();
    await expect(page.getByRole('dialog')).toBeVisible();
    await scan('the palette');
    await context.close();
  });
}
