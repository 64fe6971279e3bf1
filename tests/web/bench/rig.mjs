// What both benchmarks stand on: a browser with a profile of its own (so that
// files are cached as on a second visit), the real server, a plain server that
// isolates its pages, and the words of a report.
import { createReadStream, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { cpus, tmpdir } from "node:os";
import { extname, join } from "node:path";
import { serveWith } from "../command.mjs";

const MINUTES = 60_000;
const FLAGS = [
  "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

/** A variable that the shell scripts set. */
export function setting(name, otherwise) {
  const value = process.env[name] || otherwise;
  if (value === undefined) throw new Error(`${name} is not set: call this through make bench-web or make bench-peers`);
  return value;
}

export const packages = join(setting("BENCH_PACKAGES"), "node_modules");

/** A browser that keeps what it caches until it is closed. */
export async function launch(more = []) {
  const { chromium } = createRequire(`${packages}/`)("playwright-core");
  const profile = mkdtempSync(join(tmpdir(), "huggingtweets-bench-"));
  const executablePath = process.env.CHROMIUM || ["/usr/bin/chromium", "/usr/bin/google-chrome"].find(existsSync);
  const context = await chromium.launchPersistentContext(profile, { executablePath, args: [...FLAGS, ...more], headless: true });
  const close = async () => {
    await context.close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  };
  return { context, close };
}

/** Opens a page and waits for the result it leaves. */
export async function resultOf(context, address) {
  const page = await context.newPage();
  try {
    await page.goto(address);
    await page.waitForFunction(() => window.benchResult || window.benchError, null, { timeout: 5 * MINUTES });
    const [result, error] = await page.evaluate(() => [window.benchResult, window.benchError]);
    if (error) throw new Error(`${address}: ${error}`);
    return { ...result, browser: await browserOf(context, page) };
  } finally {
    await page.close();
  }
}

/** Chromium's full version where the driver tells it, else the major one. */
async function browserOf(context, page) {
  const version = context.browser()?.version() || /Chrome\/([\d.]+)/.exec(await page.evaluate(() => navigator.userAgent))?.[1];
  return `Chromium ${version}`;
}

/** The real server with our page and a bot. */
export const serveBot = (model) => serveWith(setting("HUGGINGTWEETS_BIN"), setting("HUGGINGTWEETS_DIST"), model);

const TYPES = {
  ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript",
  ".json": "application/json", ".wasm": "application/wasm",
};

/** Folders under paths (`{"/bot/": dir}`), isolated and cached by the browser. */
export async function serveFolders(folders) {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://x");
    const mount = Object.keys(folders).find((path) => pathname.startsWith(path));
    const file = mount && join(folders[mount], decodeURIComponent(pathname.slice(mount.length)));
    if (!file?.startsWith(folders[mount]) || !existsSync(file) || !statSync(file).isFile()) {
      return response.writeHead(404).end();
    }
    response.writeHead(200, {
      "Content-Type": TYPES[extname(file)] ?? "application/octet-stream",
      "Content-Length": statSync(file).size,
      "Cache-Control": "max-age=3600",
      ETag: `"${statSync(file).mtimeMs}"`,
      "Cross-Origin-Opener-Policy": "same-origin",
      "Cross-Origin-Embedder-Policy": "require-corp",
    });
    if (request.method === "HEAD") return response.end();
    createReadStream(file, { highWaterMark: 256 << 10 }).pipe(response);
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { origin: `http://127.0.0.1:${server.address().port}`, close };
}

/**
 * A start of so many tokens, `<|endoftext|>` included, for the vocabulary of
 * `huggingtweets bench bundle`: words and signs part there, and two letters or
 * two signs are a token.
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

/** The medians of a page's runs; the first token is the first run's, as a visitor meets it. */
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

/** Median, and the range of the rounds where there are several. */
export function spread(values, digits = 1) {
  const middle = number(median(values), digits);
  if (values.length < 2) return middle;
  return `${middle} (${number(Math.min(...values), digits)}-${number(Math.max(...values), digits)})`;
}

export function machine(browser) {
  const all = cpus();
  return `${all.length} cores of ${all[0].model.trim()}, ${browser}, headless`;
}

/** Results of earlier rounds, kept where BENCH_KEEP=1 asks for it. */
export function earlier(file) {
  return process.env.BENCH_KEEP === "1" && existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : [];
}

export function keep(file, results) {
  writeFileSync(file, JSON.stringify(results, null, 1));
}
