// Runs every test file, one after the other. A file that fails or times out fails the run; one
// that drives Firefox or WebKit is repeated once first, and the summary names those that passed
// only then.
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const LIMIT_MS = 12 * 60_000;
/** Time that browsers have to end after SIGTERM. */
const GRACE_MS = 5_000;

const all = readdirSync(here).filter((file) => file.endsWith(".test.mjs")).sort();
const wanted = process.argv.slice(2);
const files = wanted.length ? all.filter((file) => wanted.some((name) => file.startsWith(name))) : all;

/**
 * Whether a second try counts. Driven Firefox sometimes hangs (any-browser.mjs), and WebKit
 * renders in software on a virtual display and can be late on a busy machine. Chromium does
 * neither, so its failures are real.
 */
const mayRepeat = (file) => /\blaunchFirefox\b|"\.\/webkit\.mjs"/.test(readFileSync(join(here, file), "utf8"));

const seconds = {};
let running;
let interrupted = false;

/** Terminates a file's tests and their browsers, by force after the grace period. */
function end(tests) {
  const kill = (signal) => {
    try {
      process.kill(-tests.pid, signal);
    } catch {
      // The process group is gone already.
    }
  };
  kill("SIGTERM");
  return new Promise((ended) => {
    const last = setTimeout(() => (kill("SIGKILL"), ended()), GRACE_MS);
    tests.once("exit", () => (clearTimeout(last), kill("SIGKILL"), ended()));
  });
}

// The tests run in a process group of their own, which a terminal's signals do not reach.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.once(signal, async () => {
    interrupted = true;
    if (running) await end(running);
    process.exit(128 + constants.signals[signal]);
  });
}

/** Runs a file and resolves to whether it passed. */
function run(file) {
  const began = Date.now();
  return new Promise((settled) => {
    // A failed test leaves servers and browsers open; do not wait for them.
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
        // The process group is gone already.
      }
      // After an interrupt, start nothing more.
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
