// Where browsers are found, and what Chromium is started with: for tests,
// benchmarks and Lighthouse. tools/setup.sh looks for the same names.
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** The program that the variable names, else the first of these names that PATH has. */
function program(what, variable, names) {
  if (process.env[variable]) return process.env[variable];
  const folders = (process.env.PATH ?? "").split(delimiter).filter(Boolean);
  for (const name of names) {
    for (const folder of folders) {
      try {
        accessSync(join(folder, name), constants.X_OK);
        return join(folder, name);
      } catch {
        // Not in this one.
      }
    }
  }
  throw new Error(`${what} is missing: run 'make setup-browser', or set ${variable}`);
}

export const chromium = () => program("Chromium", "CHROMIUM", ["chromium", "google-chrome"]);
export const firefox = () => program("Firefox", "FIREFOX", ["firefox-esr", "firefox"]);
export const webKitDriver = () => program("WebKitWebDriver", "WEBKIT_DRIVER", ["WebKitWebDriver"]);

/** Chromium asks nobody for anything that a page does not ask for. */
export const CHROMIUM_FLAGS = [
  "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
