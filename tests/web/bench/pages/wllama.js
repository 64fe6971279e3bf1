// wllama (llama.cpp) with our GGUF from the browser's cache, on the CPU unless `gpu_layers` is
// set. Greedy, so that its sampler costs as little as possible; nothing of an earlier run's prompt
// is reused (cache_prompt).
import { Wllama } from "/wllama/index.js";
import { leave, measure, query } from "./runs.js";

// Bytes other than printable ASCII in the vocabulary of `huggingtweets bench bundle`: wllama fails
// on text that is not UTF-8.
const NO_TEXT = Object.fromEntries(Array.from({ length: 161 }, (_, i) => [96 + i, -100]));

leave(async () => {
  const engine = new Wllama({ default: "/wllama/wasm/wllama.wasm" }, { suppressNativeLog: true });
  await engine.loadModelFromUrl(new URL(query.model, location.href).href, {
    n_ctx: 1024, n_parallel: 1, n_gpu_layers: Number(query.gpu_layers ?? 0), n_threads: Number(query.threads), seed: 1,
  });
  await measure(performance.now(), async (prompt, tokens, heard) => {
    let prompt_tokens = 0;
    await engine.createCompletion({
      prompt: `<|endoftext|>${prompt}`, max_tokens: tokens, temperature: 0, top_k: 1,
      ignore_eos: true, logit_bias: NO_TEXT, cache_prompt: false, stream: true,
      onData: (chunk) => {
        const { timings, choices } = chunk;
        if (timings) prompt_tokens = timings.prompt_n + timings.cache_n;
        if (!choices[0]?.finish_reason) heard();
      },
    });
    return prompt_tokens;
  });
});
