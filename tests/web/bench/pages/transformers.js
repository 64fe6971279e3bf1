// transformers.js (ONNX Runtime's wasm) with our weights at 8 bits from the browser's cache, on
// wasm or a GPU (`device`). Greedy, so that its sampler costs as little as possible.
import { AutoModelForCausalLM, AutoTokenizer, BaseStreamer, env } from "/transformers/transformers.min.js";
import { leave, measure, query } from "./runs.js";

leave(async () => {
  env.allowLocalModels = false;
  env.remoteHost = `${location.origin}/`;
  env.remotePathTemplate = "onnx/";
  const { wasm } = env.backends.onnx;
  const name = new URL(wasm.wasmPaths.wasm).pathname.split("/").at(-1);
  wasm.wasmPaths = { mjs: `${location.origin}/ort/${name.replace(".wasm", ".mjs")}`, wasm: `${location.origin}/ort/${name}` };
  wasm.numThreads = Number(query.threads);
  const [tokenizer, model] = await Promise.all([
    AutoTokenizer.from_pretrained("bot"),
    AutoModelForCausalLM.from_pretrained("bot", { dtype: query.dtype, device: query.device }),
  ]);
  await measure(performance.now(), async (prompt, tokens, heard) => {
    const inputs = tokenizer(`<|endoftext|>${prompt}`);
    let started = false;
    class Clock extends BaseStreamer {
      put() {
        // The first call has the prompt.
        if (started) heard();
        started = true;
      }
      end() {}
    }
    await model.generate({
      ...inputs, max_new_tokens: tokens, min_new_tokens: tokens, do_sample: false, streamer: new Clock(),
    });
    return inputs.input_ids.dims.at(-1);
  });
});
