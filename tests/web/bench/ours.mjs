// Our own page, measured through /bench.html.
import { resultOf } from "./rig.mjs";

/** Tokens of the two starts. */
export const SHORT = 4;
export const LONG = 200;

/** One visit. `threads` is what was asked for; the result says what there was. */
export async function visit(context, origin, { precision, backend = "simd", threads = 1, prompt, prompt_tokens, tokens, drafts = 1, runs = 2, simd }) {
  const query = new URLSearchParams({ model: "./bot/", precision, backend, threads, prompt, tokens, drafts, runs });
  if (simd) query.set("simd", simd);
  const result = await resultOf(context, `${origin}/bench.html?${query}`);
  for (const run of result.runs) {
    if (run.prompt_tokens !== prompt_tokens) throw new Error(`the start has ${run.prompt_tokens} tokens, not ${prompt_tokens}`);
  }
  return result;
}
