// Shared by the browser tests: the real server, a second origin, real browsers, bots to load, and
// a record of whatever a page complained about.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { chromium } from "playwright-core";
import puppeteer from "puppeteer-core";
import * as browsers from "./browsers.mjs";
import { serveWith } from "./command.mjs";
import { fileAt, listen, send } from "./files.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const repository = resolve(here, "../..");

export const out = join(here, "out");
export const bin = process.env.HUGGINGTWEETS_BIN ?? join(repository, "target/debug/huggingtweets");
export const dist = process.env.HUGGINGTWEETS_DIST ?? join(repository, "dist-test");
export const fullBundle = process.env.HUGGINGTWEETS_FULL_BUNDLE;

mkdirSync(out, { recursive: true });

/**
 * A file of the larger reference set beside the repository. Without it, returns null and skips the
 * test, or fails it if HUGGINGTWEETS_REFERENCE=require.
 */
export function reference(name, test) {
  const path = join(repository, "../shared", name);
  if (existsSync(path)) return path;
  assert.notEqual(process.env.HUGGINGTWEETS_REFERENCE, "require", `${path} is missing`);
  test.skip(`${name} is not beside this checkout`);
  return null;
}

/** Runs the command and returns its standard output. */
export async function huggingtweets(...args) {
  const { stdout } = await promisify(execFile)(bin, args, { maxBuffer: 1 << 26 });
  return stdout;
}

/** Returns the command's drafts; `options` are its own, such as `prompt`, `seed` and `threads`. */
export async function commandDrafts(bundle, options) {
  const args = Object.entries(options).flatMap(([option, value]) => [`--${option}`, String(value)]);
  const { drafts } = JSON.parse(await huggingtweets("generate", "--model", bundle, "--json", ...args));
  return drafts.map((draft) => draft.text);
}

const made = new Map();
/** A bot of a given shape with random weights; rebuilt when the command is newer. */
function randomBundle(name, shape) {
  if (!made.has(name)) {
    made.set(name, (async () => {
      const dir = join(out, `bot-${name}`);
      const manifest = join(dir, "bot.json");
      if (!existsSync(manifest) || statSync(manifest).mtimeMs < statSync(bin).mtimeMs) {
        const options = Object.entries(shape).flatMap(([option, value]) => [`--${option}`, String(value)]);
        await huggingtweets("bench", "bundle", "--out", dir, "--force", ...options);
      }
      return dir;
    })());
  }
  return made.get(name);
}

/** Returns the folder of a bot small enough for every test: the demo, else one with random weights. */
export async function smallBundle() {
  const demo = process.env.HUGGINGTWEETS_SMALL_BUNDLE ?? join(repository, "model-card/demo");
  if (existsSync(join(demo, "bot.json"))) return demo;
  return randomBundle("small", { layers: 2, channels: 64, heads: 2, "vocab-size": 1000, context: 256 });
}

/** A bot that takes seconds to generate. */
export function slowBundle() {
  return randomBundle("slow", { layers: 8, channels: 512, heads: 8, "vocab-size": 2000, context: 1024 });
}

/** A bot whose vocabulary is large enough for top-k selection on the GPU. */
export function wideBundle() {
  return randomBundle("wide", { layers: 1, channels: 64, heads: 2, "vocab-size": 9600, context: 256 });
}

/** A bot whose widths are not powers of two, since dividing by one of those is always exact. */
export function oddBundle() {
  return randomBundle("odd", { layers: 2, channels: 96, heads: 3, "vocab-size": 1000, context: 256 });
}

/** A bot whose weights are several chunks of 4 MiB. */
export function chunkedBundle() {
  return randomBundle("chunked", { layers: 5, channels: 512, heads: 8, "vocab-size": 2000, context: 256 });
}

/** Starts the real server with a bot, on a free port. */
export const serve = (model) => serveWith(bin, dist, model);

/**
 * A second origin that sends no headers but the content type, those given, and CORS if wanted.
 * `pages` maps a path to HTML or to a function (request, response); other paths are files in
 * `root`.
 */
export async function secondOrigin({ pages = {}, root, cors = true, headers = {} } = {}) {
  const requests = [];
  const { origin, close } = await listen((request, response, pathname) => {
    requests.push(pathname);
    if (cors) response.setHeader("Access-Control-Allow-Origin", "*");
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    const page = pages[pathname];
    if (typeof page === "function") return page(request, response);
    if (typeof page === "string") return response.setHeader("Content-Type", "text/html").end(page);
    send(response, root ? fileAt(root, pathname) : null);
  });
  return { origin, requests, close };
}

/** A bot's files at `/bot/`, as pages that override an origin's own bot, if any. */
export function botPages(bundle) {
  return Object.fromEntries(
    ["bot.json", "model-q8_0.gguf"].map((file) => [
      `/bot/${file}`,
      (_, response) => response.end(readFileSync(join(bundle, file))),
    ]),
  );
}

/** Pages of a site without a service worker, which would answer the requests that a test looks at. */
export const noServiceWorker = { "/sw.js": (_, response) => response.writeHead(404).end() };

/** A script of the page, with lines inserted before it. */
export function scriptAfter(name, lines) {
  return (_, response) => {
    response.setHeader("Content-Type", "text/javascript");
    response.end(`${lines}\n${readFileSync(join(dist, name), "utf8")}`);
  };
}

/** A bot whose weights file the server spoils: `spoil(bytes)` returns what is sent. */
export function spoiledBot(bundle, spoil, state = { spoiled: true }) {
  const weights = readFileSync(join(bundle, "model-q8_0.gguf"));
  return {
    "/bot.json": (_, response) => response.end(readFileSync(join(bundle, "bot.json"))),
    "/model-q8_0.gguf": (_, response) => response.end(state.spoiled ? spoil(Buffer.from(weights)) : weights),
  };
}

/** Launches Chromium; `more` are further arguments. Chromium 148 now and then crashes as it starts. */
export async function launch(more = []) {
  const options = { executablePath: browsers.chromium(), args: [...browsers.CHROMIUM_FLAGS, ...more] };
  return chromium.launch(options).catch(() => chromium.launch(options));
}

/** Sets up a test file: the small bot behind the real server, and a Chromium, both closed after its tests. */
export async function servedBot() {
  const bundle = await smallBundle();
  const server = await serve(bundle);
  after(() => server.close());
  const browser = await launch();
  after(() => browser.close());
  return { bundle, server, browser };
}

/** The rules that axe checks. */
export const AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/** Flags that give headless Chromium WebGPU on its software adapter. */
export const WEBGPU = ["--enable-unsafe-webgpu"];

/** Launches Firefox, driven by WebDriver BiDi. */
export function launchFirefox() {
  return puppeteer.launch({ browser: "firefox", executablePath: browsers.firefox(), headless: true });
}

/**
 * Opens a fresh context and page. `complaints` collects error-level console messages and uncaught
 * errors; `foreign`, requests outside the given origins.
 */
export async function visitor(browser, origins, options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const complaints = [];
  const foreign = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  context.on("request", (request) => {
    const url = request.url();
    const inside = origins.some((origin) => url.startsWith(`${origin}/`)) || /^(data|blob|about):/.test(url);
    if (!inside) foreign.push(url);
  });
  return { context, page, complaints, foreign, leave: () => context.close() };
}

/**
 * Alters the weights stored by a page: flips a bit of the byte at `flip`, cuts them at `end`, and
 * inserts `before` bytes in front.
 */
export function spoilKept(page, change) {
  return page.evaluate(async ({ flip, end, before = 0 }) => {
    const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("huggingtweets-weights");
    for await (const address of folder.values()) {
      for await (const file of address.values()) {
        const bytes = new Uint8Array(await (await file.getFile()).arrayBuffer());
        if (flip !== undefined) bytes[flip] ^= 1;
        const stream = await file.createWritable();
        await stream.write(new Uint8Array(before));
        await stream.write(bytes.subarray(0, end));
        await stream.close();
      }
    }
  }, change);
}

/** Asserts that nothing was complained about, and nothing requested from other origins. */
export function quiet({ complaints, foreign }) {
  assert.deepEqual(complaints, [], "no error-level console message");
  assert.deepEqual(foreign, [], "no request outside the origins");
}

/** The same, and ends the visit. */
export async function quietly(visit) {
  quiet(visit);
  await visit.leave();
}
