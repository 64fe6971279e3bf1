// The page in a user's verbs.
import assert from "node:assert/strict";
import { visitor } from "./harness.mjs";

const SLOW = 60_000;

export class BotPage {
  /** `scope`: a page or a frame locator. */
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

  /** A button of one draft, such as Pin. */
  draftButton(action, number) {
    return this.scope.getByRole("button", { name: `${action} draft ${number}`, exact: true });
  }

  /** Opens what a draft's card has beside its buttons. */
  async more(number) {
    await this.cards.nth(number - 1).locator("details.more > summary").click();
  }

  retry() {
    return this.retryButton.click({ timeout: SLOW });
  }

  /** Each draft's text. */
  drafts() {
    return this.texts.allTextContents();
  }

  /** Waits until a sentence matching `pattern` is the status, and gives it. */
  async seesStatus(pattern, timeout = SLOW) {
    return says(this.status, pattern, timeout);
  }

  async seesAlert(pattern, timeout = SLOW) {
    return says(this.alert, pattern, timeout);
  }

  /** Waits for the last draft, and gives all. */
  async finishes(timeout = SLOW) {
    await this.generateButton.waitFor({ timeout });
    await this.seesStatus(/tokens\/s/, timeout);
    return this.drafts();
  }

  /** Waits until some draft has grown by so many characters beyond the start. */
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

/** A fresh visitor's page at an origin's path, with what `visitor` gives; `origins`: others that it may ask. */
export async function visitBot(browser, origin, path = "/", { origins = [], ...options } = {}) {
  const visit = await visitor(browser, [origin, ...origins], options);
  await visit.page.goto(origin + path);
  return { ...visit, bot: new BotPage(visit.page) };
}

/** The same, once the bot is ready. */
export async function visitReadyBot(browser, origin, path, options) {
  const visit = await visitBot(browser, origin, path, options);
  await visit.bot.seesStatus(/ready/);
  return visit;
}

/** Waits until an element says what is expected; a failure tells what it says instead. */
async function says(element, pattern, timeout) {
  try {
    await element.filter({ hasText: pattern }).waitFor({ timeout });
  } catch (error) {
    assert.fail(`“${await element.textContent()}” is not ${pattern} (${error.name})`);
  }
  return element.textContent();
}

/** Drags a file or a folder of this machine to the middle of an element, and lets go of it unless told to wait. */
export async function drag(visit, element, path, types = ["dragEnter", "dragOver", "drop"]) {
  visit.devtools ??= await visit.context.newCDPSession(visit.page);
  await element.scrollIntoViewIfNeeded();
  const { x, y, width, height } = await element.boundingBox();
  const data = { items: [], files: [path], dragOperationsMask: 1 };
  for (const type of types) {
    await visit.devtools.send("Input.dispatchDragEvent", { type, x: x + width / 2, y: y + height / 2, data });
  }
}
