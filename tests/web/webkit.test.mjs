// The main path of page and widget in WebKit: drafts equal to the command's, a second visit from
// this device's storage, an element on another origin.
import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import { NOT_SAVED, says, until, write } from "./any-browser.mjs";
import { flakySite } from "./flaky-site.mjs";
import { commandDrafts, dist, noServiceWorker, scriptAfter, secondOrigin, serve, smallBundle } from "./harness.mjs";
import { launchWebKit, webKitVisitor } from "./webkit.mjs";

let bundle, server, expected, page;

before(async () => {
  bundle = await smallBundle();
  server = await serve(bundle);
  expected = await commandDrafts(bundle, { prompt: "My dream is", seed: 21 });
  page = await launchWebKit();
});

after(async () => {
  await page?.close();
  server?.close();
});

it("writes the command's drafts on the page", async () => {
  await page.goto(`${server.origin}/?seed=21`);
  const { drafts, status } = await write(page);
  assert.deepEqual(drafts, expected);
  assert.match(status, /^SIMD, \d+ threads?, \d+(\.\d)? tokens\/s$/);
});

// Runs in a page without a driver: generates once ready, and reports what the page says.
const TELL = `const ready = [];
setInterval(() => {
  const said = (${says})();
  if (/ready/.test(said.status)) {
    ready.push(said.status);
    [...document.querySelectorAll("button")].find((b) => b.textContent.trim() === "Generate tweets")?.click();
  }
  fetch("/told", { method: "POST", body: JSON.stringify({ ...said, ready }) });
}, 200);`;

for (const [where, features] of [
  ["the Cache API, all that it has", []],
  ["the origin's private files, where they are switched on", ["StorageAPI", "StorageAPIEstimate", "FileSystem", "AccessHandle"]],
]) {
  it(`has the weights on this device on the next visit: in ${where}`, async () => {
    const bot = await flakySite(bundle);
    let told;
    const site = await secondOrigin({
      root: dist,
      pages: {
        ...noServiceWorker,
        "/start.js": scriptAfter("start.js", TELL),
        "/told": async (request, response) => {
          told = JSON.parse((await request.toArray()).join(""));
          response.end();
        },
      },
    });
    const visitor = webKitVisitor(features);
    try {
      for (const when of ["first", "next"]) {
        told = null;
        const end = visitor.visit(`${site.origin}/?${new URLSearchParams({ seed: 21, model: `${bot.origin}/bot` })}`);
        // Reuses `until`, with the reports in place of evaluating in a page.
        const { ready, drafts } = await until({ evaluate: async () => told }, { status: /tokens\/s/ }).finally(end);
        assert.doesNotMatch(ready.join("\n"), NOT_SAVED, `the ${when} visit`);
        assert.deepEqual(drafts, expected, `the ${when} visit`);
        assert.equal(bot.state.parts.length, bot.chunks, `the ${when} visit`);
      }
    } finally {
      visitor.leave();
      site.close();
      bot.close();
    }
  });
}

it("writes in an element on another origin", async () => {
  const blog = await secondOrigin({
    pages: {
      "/": `<!doctype html><title>A blog</title><tweet-bot seed="21"></tweet-bot><script src="${server.origin}/tweet-bot.js"></script>`,
    },
  });
  await page.goto(blog.origin);
  assert.deepEqual(await page.evaluate(() => document.querySelector("tweet-bot").generate()), expected);
  await page.goto("about:blank");
  blog.close();
});
