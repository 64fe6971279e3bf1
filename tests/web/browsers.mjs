// Locates browsers, and Chromium's flags, for tests, benchmarks and Lighthouse. tools/setup.sh
// looks for the same names.
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** The program named by the variable, else the first of `names` found on PATH. */
function program(what, variable, names) {
  if (process.env[variable]) return process.env[variable];
  const folders = (process.env.PATH ?? "").split(delimiter).filter(Boolean);
  for (const name of names) {
    for (const folder of folders) {
      try {
        accessSync(join(folder, name), constants.X_OK);
        return join(folder, name);
      } catch {
        // Not in this folder.
      }
    }
  }
  throw new Error(`${what} is missing: run 'make setup-browser', or set ${variable}`);
}

export const chromium = () => program("Chromium", "CHROMIUM", ["chromium", "google-chrome"]);
export const firefox = () => program("Firefox", "FIREFOX", ["firefox-esr", "firefox"]);
export const webKitDriver = () => program("WebKitWebDriver", "WEBKIT_DRIVER", ["WebKitWebDriver"]);

/** Keep Chromium from making requests of its own. */
export const CHROMIUM_FLAGS = [
  "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
