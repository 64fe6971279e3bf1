// Shared by both benchmarks: a browser with its own profile (so that files are cached as on a
// second visit), the real server, a plain server whose pages are cross-origin isolated, and the
// formatting of reports.
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import * as browsers from "../browsers.mjs";
import { serveWith } from "../command.mjs";
import { fileAt, listen, send } from "../files.mjs";

const MINUTES = 60_000;

/** Between two pages. */
const PAUSE_MS = 1000;

/** Reads a variable that the shell scripts set. */
export function setting(name, otherwise) {
  const value = process.env[name] || otherwise;
  if (value === undefined) throw new Error(`${name} is not set: call this through make bench-web or make bench-peers`);
  return value;
}

export const packages = join(setting("BENCH_PACKAGES"), "node_modules");

/** Launches a browser that keeps its caches until it is closed. */
export async function launch(more = []) {
  const { chromium } = createRequire(`${packages}/`)("playwright-core");
  const profile = mkdtempSync(join(tmpdir(), "huggingtweets-bench-"));
  const args = [...browsers.CHROMIUM_FLAGS, ...more];
  const context = await chromium.launchPersistentContext(profile, { executablePath: browsers.chromium(), args, headless: true });
  const close = async () => {
    await context.close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  };
  return { context, close };
}

/** Opens a page and waits for its result. */
export async function resultOf(context, address) {
  const page = await context.newPage();
  try {
    await page.goto(address);
    // Not with every frame, which is the default: drawing them takes a core's time from the engines.
    const often = { polling: 100, timeout: 5 * MINUTES };
    await page.waitForFunction(() => window.benchResult || window.benchError, null, often);
    const [result, error] = await page.evaluate(() => [window.benchResult, window.benchError]);
    if (error) throw new Error(`${address}: ${error}`);
    return { ...result, browser: await browserOf(context, page) };
  } finally {
    await page.close();
    // Freeing its memory takes a core's time, which the next page would pay for.
    await new Promise((later) => setTimeout(later, PAUSE_MS));
  }
}

/** Chromium's full version if the driver reports it, else the major version. */
async function browserOf(context, page) {
  const version = context.browser()?.version() || /Chrome\/([\d.]+)/.exec(await page.evaluate(() => navigator.userAgent))?.[1];
  return `Chromium ${version}`;
}

/** Starts the real server with our page and a bot. */
export const serveBot = (model) => serveWith(setting("HUGGINGTWEETS_BIN"), setting("HUGGINGTWEETS_DIST"), model);

/** Serves folders under paths (`{"/bot/": dir}`), cross-origin isolated and cacheable. */
export function serveFolders(folders) {
  return listen((_, response, pathname) => {
    const mount = Object.keys(folders).find((path) => pathname.startsWith(path));
    const file = mount ? fileAt(folders[mount], pathname.slice(mount.length)) : null;
    if (file) {
      response.setHeader("Cache-Control", "max-age=3600");
      response.setHeader("ETag", `"${statSync(file).mtimeMs}"`);
      response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
      response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
    }
    send(response, file);
  });
}

/**
 * A prompt of `tokens` tokens, `<|endoftext|>` included, for the vocabulary of `huggingtweets
 * bench bundle`: it splits words from punctuation, and two letters or two signs are a token.
 */
export function promptOf(tokens) {
  return Array.from({ length: tokens - 1 }, (_, i) => (i % 2 ? "!?" : "ab")).join("");
}

export function median(values) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  const half = sorted.length >> 1;
  if (sorted.length === 0) return NaN;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** The medians of a page's runs; the first-token time is the first run's, as a visitor sees it. */
export function summary({ runs }) {
  return {
    decode: median(runs.map((run) => run.tokens_per_s)),
    prefill: median(runs.map((run) => run.prefill_tokens_per_s)),
    first: runs[0].first_token_ms,
  };
}

/** A Markdown table. */
export function table(head, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map((_, i) => (i === 0 ? "---" : "---:"))), ...rows.map(line)].join("\n");
}

export function number(value, digits = 1) {
  return Number.isFinite(value) ? value.toFixed(digits) : "-";
}

/** The median, with the range if there are several rounds. */
export function spread(values, digits = 1) {
  const middle = number(median(values), digits);
  if (values.length < 2) return middle;
  return `${middle} (${number(Math.min(...values), digits)}-${number(Math.max(...values), digits)})`;
}

export function machine(browser) {
  const all = cpus();
  return `${all.length} cores of ${all[0].model.trim()}, ${browser}, headless`;
}

/** Results of earlier rounds, reused if BENCH_KEEP=1. */
export function earlier(file) {
  return process.env.BENCH_KEEP === "1" && existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : [];
}

export function keep(file, results) {
  writeFileSync(file, JSON.stringify(results, null, 1));
}
