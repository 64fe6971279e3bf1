// Runs the measurements on both peers' pages: the same prompts and lengths as ours, timed as a
// caller of the library sees them.

/** The URL parameters, written by the benchmark. */
export const query = Object.fromEntries(new URLSearchParams(location.search));

/**
 * @param ready_ms from opening the page to a model that can answer
 * @param run (prompt, tokens, heard) => number of prompt tokens; calls `heard` at each new token
 */
export async function measure(ready_ms, run) {
  const result = { ready_ms };
  for (const { work, prompt, tokens, runs } of JSON.parse(query.works)) {
    result[work] = { runs: [] };
    for (let i = 0; i < runs; i += 1) {
      const times = [];
      const started = performance.now();
      const prompt_tokens = await run(prompt, tokens, () => times.push(performance.now()));
      const first_token_ms = times[0] - started;
      result[work].runs.push({
        prompt_tokens,
        new_tokens: times.length,
        first_token_ms,
        prefill_tokens_per_s: (1000 * prompt_tokens) / first_token_ms,
        tokens_per_s: (1000 * (times.length - 1)) / (times.at(-1) - times[0]),
      });
    }
  }
  window.benchResult = result;
}

/** Runs a page's main function; an exception is left for the benchmark. */
export async function leave(main) {
  try {
    await main();
  } catch (error) {
    window.benchError = `${error?.message ?? error}\n${error?.stack ?? ""}`;
  }
}
