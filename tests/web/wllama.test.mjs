// Our GGUFs in wllama (llama.cpp): it opens them and, decoding greedily, writes what our engine
// writes.
import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { huggingtweets, launch, secondOrigin, smallBundle } from "./harness.mjs";

const PROMPT = "The foghorn";
/** More than the draft needs: both engines end it themselves. */
const TOKENS = 100;
const wllama = join(dirname(fileURLToPath(import.meta.url)), "node_modules/@wllama/wllama/esm");
let bundle, browser, weights, library;

before(async () => {
  bundle = await smallBundle();
  weights = await secondOrigin({ root: bundle });
  library = await secondOrigin({ root: wllama, pages: { "/": "<title>wllama</title>" } });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  weights?.close();
  library?.close();
});

for (const precision of ["q8_0", "q4_0"]) {
  it(`opens model-${precision}.gguf and writes the same`, { timeout: 120_000 }, async () => {
    const page = await browser.newPage();
    await page.goto(library.origin);
    const theirs = await page.evaluate(
      async ({ url, prompt, tokens }) => {
        const { Wllama } = await import("/index.js");
        const engine = new Wllama({ default: "/wasm/wllama.wasm" }, { suppressNativeLog: true });
        const file = await (await fetch(url)).blob();
        await engine.loadModel([file], { n_ctx: 128, n_threads: 1, seed: 1 });
        const { hparams } = engine.getModelMetadata();
        const made = await engine.createCompletion({ prompt, max_tokens: tokens, temperature: 0, top_k: 1 });
        return { hparams, text: made.choices[0].text };
      },
      { url: `${weights.origin}/model-${precision}.gguf`, prompt: `<|endoftext|>${PROMPT}`, tokens: TOKENS },
    );
    assert.ok(theirs.hparams.nVocab > 500 && theirs.hparams.nLayer > 1, JSON.stringify(theirs));
    const ours = JSON.parse(
      await huggingtweets(
        ..."generate -n 1 --temperature 0 --json --precision".split(" "), precision, "--model", bundle, "--prompt", PROMPT,
      ),
    ).drafts[0].text;
    // wllama rounds activations differently, so texts may diverge where two tokens are almost
    // wllama rounds activations differently, so texts may diverge where two tokens are almost
    // equally likely; after this prompt the likeliest logit always leads by 0.6.
    assert.equal(PROMPT + theirs.text, ours);
    await page.close();
  });
}
