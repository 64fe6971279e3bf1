// Our own page, measured through /bench.html.
import { resultOf } from "./rig.mjs";

/** Tokens of the two prompts. */
export const SHORT = 4;
export const LONG = 200;

/** One visit. `threads` is the number requested; the result has the actual number. */
export async function visit(context, origin, { precision, backend = "simd", threads = 1, prompt, prompt_tokens, tokens, drafts = 1, runs = 2, simd }) {
  const query = new URLSearchParams({ model: "./bot/", precision, backend, threads, prompt, tokens, drafts, runs });
  if (simd) query.set("simd", simd);
  const result = await resultOf(context, `${origin}/bench.html?${query}`);
  // If the page fell back to another backend, its result would be misattributed.
  if (result.backend !== backend) throw new Error(`${backend} was asked for, and ${result.backend} ran`);
  for (const run of result.runs) {
    if (run.prompt_tokens !== prompt_tokens) throw new Error(`the start has ${run.prompt_tokens} tokens, not ${prompt_tokens}`);
  }
  return result;
}

/**
 * Milliseconds from opening the page itself, with its views, to "ready" in its status line; an
 * earlier visit has filled the caches and installed the service worker.
 */
export async function openPage(context, origin, { precision, threads = 1 }) {
  const page = await context.newPage();
  try {
    await page.goto(`${origin}/?${new URLSearchParams({ model: "./bot/", precision, threads })}`);
    const ready = () => /, ready/.test(document.querySelector("[role=status]")?.textContent ?? "") && performance.now();
    return await (await page.waitForFunction(ready, null, { timeout: 60_000, polling: "raf" })).jsonValue();
  } finally {
    await page.close();
  }
}
