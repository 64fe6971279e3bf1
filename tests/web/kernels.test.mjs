// The engine's kernels in real browsers, compared with the scalar reference: plain simd128, and
// relaxed SIMD as implemented by each machine's instructions.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { dist, launch, launchFirefox, secondOrigin } from "./harness.mjs";

const CASES = 150;
/** How an x86-64 CPU without AVX-VNNI interprets the operands of relaxed SIMD's products. */
const WITHOUT_VNNI = "relaxed simd128, pairs";
/** Chromium without some instructions falls back to the next best ones. */
const without = (...features) => () => launch([`--js-flags=${features.map((feature) => `--no-enable-${feature}`).join(" ")}`]);
const BROWSERS = {
  Chromium: () => launch(),
  "Chromium without AVX-VNNI": without("avx-vnni", "avx-vnni-int8"),
  "Chromium without AVX": without("avx-vnni", "avx-vnni-int8", "avx2", "avx"),
  Firefox: launchFirefox,
};

let site;

before(async () => {
  site = await secondOrigin({ root: dist, pages: { "/": "<!doctype html><title>Kernels</title>" } });
});

after(() => site?.close());

for (const [name, open] of Object.entries(BROWSERS)) {
  describe(name, () => {
    let browser, page;

    before(async () => {
      browser = await open();
      page = await browser.newPage();
      await page.goto(site.origin);
    });

    after(() => browser?.close());

    for (const build of ["relaxed", "plain"]) {
      it(`gives the reference's bits: ${build}`, async (test) => {
        const relaxed = await page.evaluate(`import("/engine-choice.js").then((choice) => choice.hasRelaxedSimd())`);
        if (build === "relaxed" && !relaxed) return test.skip("no relaxed SIMD");
        const { instructions, wrong } = await page.evaluate(`(async () => {
          const kernels = await import("/kernels/${build}.js");
          await kernels.default();
          return { instructions: kernels.instructions(), wrong: kernels.check(5, ${CASES}) ?? null };
        })()`);
        test.diagnostic(instructions);
        assert.equal(wrong, null);
        assert.ok(instructions.startsWith(build === "relaxed" ? "relaxed simd128" : "simd128"), instructions);
        // V8 ignores flags that it does not know; on a CPU with AVX-VNNI, the name would show
        // that.
        if (build === "relaxed" && process.arch === "x64" && name.includes("without")) assert.equal(instructions, WITHOUT_VNNI);
      });
    }
  });
}
