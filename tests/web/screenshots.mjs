// The README's pictures: `npm run screenshots -- FOLDER`.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { BotPage } from "./bot-page.mjs";
import { launch, out, serve, smallBundle, visitor } from "./harness.mjs";

const folder = process.argv[2] ?? out;
mkdirSync(folder, { recursive: true });
const server = await serve(await smallBundle());
const browser = await launch();
try {
  for (const colorScheme of ["light", "dark"]) {
    const viewport = { width: 1120, height: 860 };
    const { page, leave } = await visitor(browser, [server.origin], { viewport, colorScheme });
    await page.goto(`${server.origin}/?seed=2`);
    const bot = new BotPage(page);
    await bot.generate();
    await bot.finishes();
    await page.screenshot({ path: join(folder, `page-${colorScheme}.png`) });
    await leave();
  }
} finally {
  await browser.close();
  server.close();
}
