// WebKit by its own driver (Debian's webkit2gtk-driver), on a display that
// nobody sees: as much of a browser as tests/web/any-browser.mjs asks for.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer } from "node:net";

async function freePort() {
  const server = createServer();
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

export async function launchWebKit() {
  const path = process.env.WEBKIT_DRIVER ?? "/usr/bin/WebKitWebDriver";
  if (!existsSync(path)) throw new Error("WebKitWebDriver is missing: run 'make setup-browser', or set WEBKIT_DRIVER");
  const port = await freePort();
  const driver = spawn("xvfb-run", ["-a", path, `--port=${port}`], {
    stdio: "ignore",
    detached: true,
    // Its own sandbox needs rights that containers do not have.
    env: { ...process.env, WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: "1", LIBGL_ALWAYS_SOFTWARE: "1" },
  });
  const call = async (method, route, body) => {
    const response = await fetch(`http://127.0.0.1:${port}${route}`, { method, body: body && JSON.stringify(body) });
    const { value } = await response.json();
    if (value?.error) throw new Error(`${value.error}: ${value.message}`);
    return value;
  };
  const end = () => process.kill(-driver.pid, "SIGTERM");
  for (let tries = 0; ; tries++) {
    try {
      await call("GET", "/status");
      break;
    } catch (error) {
      if (tries === 300) throw (end(), new Error(`WebKitWebDriver did not start: ${error.message}`));
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
      end();
    },
  };
}
