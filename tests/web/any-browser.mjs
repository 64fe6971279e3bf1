// What Playwright's Chromium and Puppeteer's Firefox have in common, and reading a page through
// either.
import assert from "node:assert/strict";

const SLOW = 60_000;

/** In the status of a bot whose weights this device does not store. */
export const NOT_SAVED = /not saved on this device/;

/** A context with storage of its own; `newPage` opens a tab in it. */
export function freshContext(browser) {
  return (browser.createBrowserContext ?? browser.newContext).call(browser);
}

/** Runs in a page: its current status, alert and drafts. */
export const says = () => ({
  status: document.querySelector("[role=status]")?.textContent ?? "",
  alert: document.querySelector("[role=alert]")?.textContent.trim() ?? "",
  drafts: [...document.querySelectorAll("[data-testid=draft-text]")].map((draft) => draft.textContent),
});

/** Returns the page's current status, alert and drafts. */
export const look = (page) => page.evaluate(says);

/** Waits until the status matches, or the alert if `alert` is given instead. */
export async function until(page, { status, alert }, timeout = SLOW) {
  const ends = Date.now() + timeout;
  for (;;) {
    // While the page navigates there is no document to evaluate in.
    const seen = await look(page).catch(() => null);
    if (seen && (status ? status.test(seen.status) : alert.test(seen.alert))) return seen;
    const failed = status && seen?.alert;
    assert.ok(Date.now() < ends && !failed, `waiting for ${status ?? alert}: ${JSON.stringify(seen)}`);
    await new Promise((later) => setTimeout(later, 50));
  }
}

/**
 * Waits until a condition of `argument` holds in a page or frame. Puppeteer's own wait compiles text
 * there, which our policy forbids (and Firefox 140 applies to it).
 */
export async function holds(frame, condition, argument) {
  const ends = Date.now() + SLOW;
  while (!(await frame.evaluate(condition, argument))) {
    assert.ok(Date.now() < ends, `waiting for ${condition}`);
    await new Promise((later) => setTimeout(later, 50));
  }
}

/** Clicks the button with this text. */
export function press(page, text) {
  return page.evaluate((wanted) => {
    const button = [...document.querySelectorAll("button")].find((b) => b.textContent.trim() === wanted);
    if (!button) throw new Error(`no button “${wanted}”`);
    button.click();
  }, text);
}

/** Generates five drafts once the bot is ready. */
export async function write(page, timeout) {
  await until(page, { status: /ready/ }, timeout);
  await press(page, "Generate tweets");
  return until(page, { status: /tokens\/s/ });
}

/** An engine that starts at all has started within this time. */
const STARTED = 20_000;
const TRIES = 4;

/**
 * Opens pages until an engine with threads starts in one and generates. In a Firefox driven by
 * WebDriver BiDi, `new Worker` inside a worker may never return: Firefox reports every worker to
 * the driver while the call blocks. Firefox 153, reloads that stay at "Starting the engine": 18 of
 * 130 with four threads, none of 600 with one, none of 200 without a driver. So tests of anything
 * else request one thread wherever a page in Firefox is cross-origin isolated, where the default
 * would be more.
 */
export async function writeWithThreads(open) {
  for (let left = TRIES; ; left--) {
    const page = await open();
    try {
      return await write(page, STARTED);
    } catch (error) {
      if (left === 1 || !/"Starting the engine"/.test(error.message)) throw error;
    } finally {
      await page.close();
    }
  }
}
