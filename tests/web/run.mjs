// Runs every file of tests, one after the other. A file that fails, or does not
// end, fails the whole; one that drives Firefox or WebKit is run once more before
// that, and the end says loudly which were.
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const LIMIT_MS = 12 * 60_000;
/** What browsers have to end in when their tests are told to. */
const GRACE_MS = 5_000;

const all = readdirSync(here).filter((file) => file.endsWith(".test.mjs")).sort();
const wanted = process.argv.slice(2);
const files = wanted.length ? all.filter((file) => wanted.some((name) => file.startsWith(name))) : all;

/**
 * Whether a second try counts. A Firefox that is driven hangs by itself at times
 * (any-browser.mjs), and WebKit is drawn by software on a display of its own and is late
 * on a busy machine. Chromium does neither: what fails there fails.
 */
const mayRepeat = (file) => /\blaunchFirefox\b|"\.\/webkit\.mjs"/.test(readFileSync(join(here, file), "utf8"));

const seconds = {};
let running;
let interrupted = false;

/** Tells a file's tests to end, which ends their browsers, and sees to it that they do. */
function end(tests) {
  const kill = (signal) => {
    try {
      process.kill(-tests.pid, signal);
    } catch {
      // Nothing was left.
    }
  };
  kill("SIGTERM");
  return new Promise((ended) => {
    const last = setTimeout(() => (kill("SIGKILL"), ended()), GRACE_MS);
    tests.once("exit", () => (clearTimeout(last), kill("SIGKILL"), ended()));
  });
}

// The tests have a process group of their own: a terminal's signals do not reach it.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.once(signal, async () => {
    interrupted = true;
    if (running) await end(running);
    process.exit(128 + constants.signals[signal]);
  });
}

/** Whether the file passes. */
function run(file) {
  const began = Date.now();
  return new Promise((settled) => {
    // A test that fails leaves its servers and browsers: nothing waits for them.
    const args = ["--test", "--test-concurrency=1", "--test-force-exit", "--test-reporter=spec", file];
    const tests = spawn(process.execPath, args, { cwd: here, stdio: "inherit", detached: true });
    running = tests;
    const limit = setTimeout(() => {
      console.error(`${file}: not done after ${LIMIT_MS / 60_000} minutes`);
      end(tests);
    }, LIMIT_MS);
    tests.on("exit", (code) => {
      clearTimeout(limit);
      running = null;
      seconds[file] = (seconds[file] ?? 0) + Math.round((Date.now() - began) / 1000);
      try {
        process.kill(-tests.pid, "SIGKILL");
      } catch {
        // Nothing was left.
      }
      // Nothing is started after an interrupt.
      if (!interrupted) settled(code === 0);
    });
  });
}

const [again, failed] = [[], []];
for (const file of files) {
  if (await run(file)) continue;
  if (!mayRepeat(file)) {
    failed.push(file);
    continue;
  }
  console.error(`${file} failed: once more`);
  (await run(file) ? again : failed).push(file);
}
console.log(`seconds: ${Object.entries(seconds).map(([file, time]) => `${file} ${time}`).join(", ")}`);
console.log(`${files.length} files of browser tests, ${failed.length} failed`);
if (again.length) {
  const line = "=".repeat(72);
  console.log(`${line}\nPASSED ONLY AT THE SECOND TRY: ${again.join(", ")}\n${line}`);
}
if (failed.length) console.log(`failed: ${failed.join(", ")}`);
process.exitCode = failed.length || !files.length ? 1 : 0;
