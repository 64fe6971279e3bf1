// Page object: the page in terms of what a user does.
import assert from "node:assert/strict";
import { visitor } from "./harness.mjs";

const SLOW = 60_000;

export class BotPage {
  /** `scope` is a page or a frame locator. */
  constructor(scope) {
    this.scope = scope;
    this.start = scope.getByLabel("Start of the tweet");
    this.generateButton = scope.getByRole("button", { name: "Generate tweets" });
    this.stopButton = scope.getByRole("button", { name: "Stop" });
    this.retryButton = scope.getByRole("button", { name: "Retry" });
    this.status = scope.getByRole("status");
    this.alert = scope.getByRole("alert");
    this.cards = scope.getByRole("list", { name: "Drafts" }).getByRole("article");
    this.texts = scope.getByTestId("draft-text");
    this.tab = (name) => scope.getByRole("tab", { name });
    this.panel = (name) => scope.getByRole("tabpanel", { name });
  }

  type(text) {
    return this.start.fill(text);
  }

  generate() {
    return this.generateButton.click({ timeout: SLOW });
  }

  stop() {
    return this.stopButton.click();
  }

  endDraft(number) {
    return this.scope.getByRole("button", { name: `End draft ${number}` }).click();
  }

  /** Returns a button of one draft, such as Pin. */
  draftButton(action, number) {
    return this.scope.getByRole("button", { name: `${action} draft ${number}`, exact: true });
  }

  /** Opens the menu of a draft's card. */
  async more(number) {
    await this.cards.nth(number - 1).locator("details.more > summary").click();
  }

  retry() {
    return this.retryButton.click({ timeout: SLOW });
  }

  /** Returns each draft's text. */
  drafts() {
    return this.texts.allTextContents();
  }

  /** Waits until the status matches `pattern`, and returns it. */
  async seesStatus(pattern, timeout = SLOW) {
    return says(this.status, pattern, timeout);
  }

  async seesAlert(pattern, timeout = SLOW) {
    return says(this.alert, pattern, timeout);
  }

  /** Waits for the last draft, and returns all. */
  async finishes(timeout = SLOW) {
    await this.generateButton.waitFor({ timeout });
    await this.seesStatus(/tokens\/s/, timeout);
    return this.drafts();
  }

  /** Waits until some draft is `more` characters longer than the prompt. */
  async streams(start, more = 8, timeout = SLOW) {
    const ends = Date.now() + timeout;
    while (Date.now() < ends) {
      if ((await this.drafts()).some((text) => text.length >= start.length + more)) return;
      await new Promise((later) => setTimeout(later, 5));
    }
    assert.fail(`no draft grew beyond “${start}”`);
  }

  async openSettings() {
    await this.scope.getByText("Sampling settings", { exact: true }).click();
  }

  async set(label, value) {
    const field = this.scope.getByLabel(label, { exact: true });
    await field.fill(String(value));
    await field.blur();
  }
}

/** Opens a path as a fresh visitor, who may also request `origins`; returns the bot besides `visitor`'s result. */
export async function visitBot(browser, origin, path = "/", { origins = [], ...options } = {}) {
  const visit = await visitor(browser, [origin, ...origins], options);
  await visit.page.goto(origin + path);
  return { ...visit, bot: new BotPage(visit.page) };
}

/** The same, but waits until the bot is ready. */
export async function visitReadyBot(browser, origin, path, options) {
  const visit = await visitBot(browser, origin, path, options);
  await visit.bot.seesStatus(/ready/);
  return visit;
}

/** Waits until an element's text matches; a failure reports the actual text. */
async function says(element, pattern, timeout) {
  try {
    await element.filter({ hasText: pattern }).waitFor({ timeout });
  } catch (error) {
    assert.fail(`“${await element.textContent()}” is not ${pattern} (${error.name})`);
  }
  return element.textContent();
}

/** Drags a file or folder of this machine onto an element, and drops it unless `types` says otherwise. */
export async function drag(visit, element, path, types = ["dragEnter", "dragOver", "drop"]) {
  visit.devtools ??= await visit.context.newCDPSession(visit.page);
  await element.scrollIntoViewIfNeeded();
  const { x, y, width, height } = await element.boundingBox();
  const data = { items: [], files: [path], dragOperationsMask: 1 };
  for (const type of types) {
    await visit.devtools.send("Input.dispatchDragEvent", { type, x: x + width / 2, y: y + height / 2, data });
  }
}
