// The npm package as its users get it: packed, installed into an empty Vite project, and its
// folder used on a plain page.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, before, it } from "node:test";
import { commandDrafts, dist, launch, out, secondOrigin, serve, smallBundle } from "./harness.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const repository = join(here, "../..");
const project = join(out, "vite-project");
let server, browser, expected;

const run = (command, args, cwd) => execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

before(async () => {
  const bundle = await smallBundle();
  server = await serve(bundle);
  browser = await launch();
  expected = await commandDrafts(bundle, { prompt: "My dream is", seed: 21 });

  const folder = join(out, "npm");
  for (const old of [folder, project]) rmSync(old, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const file of ["package.json", "tweet-bot.d.ts", "copy-site.js", "README.md"]) {
    cpSync(join(repository, "www/npm", file), join(folder, file));
  }
  run(join(repository, "tools/npm.sh"), [dist, folder], repository);
  run("npm", ["pack", "--silent"], folder);
  const [tarball] = readdirSync(folder).filter((file) => file.endsWith(".tgz"));

  mkdirSync(project, { recursive: true });
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module" }));
  run("npm", ["install", "--no-audit", "--no-fund", "--silent", join(folder, tarball)], project);
  writeFileSync(join(project, "index.html"), '<!doctype html><link rel="icon" href="data:,"><div></div><script type="module" src="/main.ts"></script>');
  writeFileSync(join(project, "main.ts"), `
    import "huggingtweets-tweet-bot";
    import type { DoneDetail } from "huggingtweets-tweet-bot";
    const bot = document.createElement("tweet-bot");
    bot.model = "${server.origin}/bot/";
    bot.seed = "21";
    bot.addEventListener("done", ({ detail }) => {
      const done: DoneDetail = detail;
      document.title = String(done.drafts.length);
    });
    document.querySelector("div")!.append(bot);
    const drafts: Promise<string[]> = bot.generate({ drafts: 5 });
    void drafts;
  `);
});

after(async () => {
  await browser?.close();
  server?.close();
});

async function writes(origin, path = "/") {
  const page = await browser.newPage();
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(origin + path);
  await page.waitForFunction(() => document.title === "5", null, { timeout: 60_000 });
  assert.deepEqual(await page.evaluate(() => document.querySelector("tweet-bot").texts), expected);
  assert.deepEqual(complaints, []);
  // The package has no index.html: the link leads to embed.html, the element alone.
  const own = await page.evaluate(() => document.querySelector("tweet-bot").shadowRoot.querySelector("[part=colophon] a").href);
  assert.match(own, /\/embed\.html\?/);
  const answer = await page.goto(own);
  assert.equal(answer.status(), 200);
  await page.waitForFunction(() => document.querySelector("tweet-bot")?.shadowRoot);
  assert.equal(await page.evaluate(() => document.querySelector("tweet-bot").model), `${server.origin}/bot/`);
  assert.ok(await page.getByRole("link").isHidden(), "a link to itself");
  await page.close();
}

it("holds what it needs and no bot", () => {
  const installed = join(project, "node_modules/huggingtweets-tweet-bot");
  for (const file of ["tweet-bot.d.ts", "README.md", "LICENSE-MIT", "LICENSE-APACHE", "site/tweet-bot.js", "site/engine.html", "site/embed.html", "site/app_bg.wasm", "site/engine/plain-single_bg.wasm"]) {
    assert.ok(existsSync(join(installed, file)), file);
  }
  assert.ok(!existsSync(join(installed, "site/bot")));
  // A classic script is decoded in its page's encoding, so it must be ASCII.
  assert.match(readFileSync(join(installed, "site/tweet-bot.js"), "latin1"), /^[\x00-\x7f]+$/);
});

it("has types that TypeScript accepts, and that refuse what is wrong", () => {
  const tsc = join(here, "node_modules/typescript/bin/tsc");
  const options = ["--noEmit", "--strict", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler", "--lib", "es2022,dom"];
  run(process.execPath, [tsc, ...options, "main.ts"], project);
  writeFileSync(join(project, "wrong.ts"), 'import "huggingtweets-tweet-bot";\ndocument.createElement("tweet-bot").generate({ drafts: "five" });\n');
  assert.throws(() => run(process.execPath, [tsc, ...options, "wrong.ts"], project), ({ stdout }) => /not assignable to type 'number/.test(stdout));
});

it("works in a Vite project, built", async () => {
  run("npx", ["--no", "huggingtweets-tweet-bot"], project);
  const vite = join(here, "node_modules/vite/bin/vite.js");
  run(process.execPath, [vite, "build", "--logLevel", "error"], project);
  const site = await secondOrigin({ root: join(project, "dist") });
  await writes(site.origin);
  site.close();
});

it("works on a plain page from its folder", async () => {
  const page = `<!doctype html><link rel="icon" href="data:,"><tweet-bot model="${server.origin}/bot/" seed="21"></tweet-bot>
    <script src="/node_modules/huggingtweets-tweet-bot/site/tweet-bot.js"></script>
    <script>
      document.addEventListener("done", ({ detail }) => (document.title = String(detail.drafts.length)));
      document.querySelector("tweet-bot").generate();
    </script>`;
  const site = await secondOrigin({ root: project, pages: { "/plain": page } });
  await writes(site.origin, "/plain");
  site.close();
});
