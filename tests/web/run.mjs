// Runs every file of tests, one after the other. One that fails is run once
// more, and said to have been: browsers on a busy machine are late at times. A
// file that fails twice, or does not end, fails the whole.
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const LIMIT_MS = 12 * 60_000;

const all = readdirSync(here).filter((file) => file.endsWith(".test.mjs")).sort();
const wanted = process.argv.slice(2);
const files = wanted.length ? all.filter((file) => wanted.some((name) => file.startsWith(name))) : all;

const seconds = {};

/** Whether the file passes. */
function run(file) {
  const began = Date.now();
  return new Promise((settled) => {
    // A test that fails leaves its servers and browsers: nothing waits for them.
    const args = ["--test", "--test-concurrency=1", "--test-force-exit", "--test-reporter=spec", file];
    const tests = spawn(process.execPath, args, { cwd: here, stdio: "inherit", detached: true });
    const limit = setTimeout(() => {
      console.error(`${file}: not done after ${LIMIT_MS / 60_000} minutes`);
      process.kill(-tests.pid, "SIGKILL");
    }, LIMIT_MS);
    tests.on("exit", (code) => {
      clearTimeout(limit);
      seconds[file] = (seconds[file] ?? 0) + Math.round((Date.now() - began) / 1000);
      try {
        process.kill(-tests.pid, "SIGKILL");
      } catch {
        // Nothing was left.
      }
      settled(code === 0);
    });
  });
}

const [again, failed] = [[], []];
for (const file of files) {
  if (await run(file)) continue;
  console.error(`${file} failed: once more`);
  (await run(file) ? again : failed).push(file);
}
console.log(`seconds: ${Object.entries(seconds).map(([file, time]) => `${file} ${time}`).join(", ")}`);
console.log(`${files.length} files of browser tests, ${failed.length} failed`);
if (again.length) console.log(`passed only at the second try: ${again.join(", ")}`);
if (failed.length) console.log(`failed: ${failed.join(", ")}`);
process.exitCode = failed.length || !files.length ? 1 : 0;
