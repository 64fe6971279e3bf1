// WebKit on a virtual display: through its own driver (Debian's webkit2gtk-driver), with the parts
// of a browser that any-browser.mjs needs; and undriven, with a persistent profile.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { webKitDriver } from "./browsers.mjs";

// WebKit's sandbox needs privileges that containers do not have.
const ENVIRONMENT = { WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: "1", LIBGL_ALWAYS_SOFTWARE: "1" };

/** Programs and their displays, each a process group, which must not outlive this process. */
const running = new Set();
process.on("exit", () => running.forEach(tell));
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.once(signal, () => process.exit(128 + constants.signals[signal]));
}

function tell(child) {
  try {
    process.kill(-child.pid, "SIGTERM");
  } catch {
    // It has already ended.
  }
}

/** Starts a program on a virtual display; returns a function that ends both. */
function onHiddenDisplay(program, args, environment = {}) {
  const child = spawn("xvfb-run", ["-a", program, ...args], {
    stdio: "ignore",
    detached: true,
    env: { ...process.env, ...ENVIRONMENT, ...environment },
  });
  running.add(child);
  const ended = new Promise((exit) => child.once("exit", exit));
  return async () => {
    tell(child);
    await ended;
    running.delete(child);
  };
}

async function freePort() {
  const server = createServer();
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

export async function launchWebKit() {
  const port = await freePort();
  const end = onHiddenDisplay(webKitDriver(), [`--port=${port}`]);
  const call = async (method, route, body) => {
    const response = await fetch(`http://127.0.0.1:${port}${route}`, { method, body: body && JSON.stringify(body) });
    const { value } = await response.json();
    if (value?.error) throw new Error(`${value.error}: ${value.message}`);
    return value;
  };
  for (let tries = 0; ; tries++) {
    try {
      await call("GET", "/status");
      break;
    } catch (error) {
      if (tries === 300) throw (await end(), new Error(`WebKitWebDriver did not start: ${error.message}`));
      await new Promise((later) => setTimeout(later, 100));
    }
  }
  const { sessionId, capabilities } = await call("POST", "/session", { capabilities: { alwaysMatch: {} } });
  const session = `/session/${sessionId}`;
  await call("POST", `${session}/timeouts`, { script: 120_000 });
  return {
    version: capabilities.browserVersion,
    goto: (url) => call("POST", `${session}/url`, { url }),
    reload: () => call("POST", `${session}/refresh`, {}),
    evaluate: (task, argument) =>
      call("POST", `${session}/execute/sync`, { script: `return (${task})(...arguments)`, args: [argument ?? null] }),
    close: async () => {
      await call("DELETE", session).catch(() => {});
      await end();
    },
  };
}

/**
 * A visitor with a profile of their own. A driver's sessions discard everything that a page
 * stores, so this browser is not driven: `visit` opens a page, which must report by itself, and
 * returns a function that ends the visit.
 */
export function webKitVisitor(features = []) {
  const places = readdirSync("/usr/lib").map((target) => `/usr/lib/${target}/webkit2gtk-4.1/MiniBrowser`);
  const path = process.env.WEBKIT || places.find((place) => existsSync(place));
  if (!path) throw new Error("WebKit's MiniBrowser is missing: run 'make setup-browser', or set WEBKIT");
  const home = mkdtempSync(join(tmpdir(), "huggingtweets-webkit-"));
  const environment = { HOME: home, XDG_DATA_HOME: join(home, "data"), XDG_CACHE_HOME: join(home, "cache") };
  const flags = features.length ? [`--features=${features.map((name) => `+${name}`).join(",")}`] : [];
  return {
    visit: (url) => onHiddenDisplay(path, [...flags, url], environment),
    leave: () => rmSync(home, { recursive: true, force: true }),
  };
}
