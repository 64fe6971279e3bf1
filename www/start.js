// Starts the page. A file of its own, because a strict content security
// policy allows no script inside the HTML.
import init from "./app.js";
import { newestBuild, workOffline } from "./offline.js";

const { mode } = document.documentElement.dataset;

try {
  if (mode === "page") await newestBuild();
  await init({ module_or_path: new URL("./app_bg.wasm", import.meta.url) });
  if (mode === "page") workOffline();
} catch (error) {
  const opening = document.querySelector("#placeholder .opening, #bench");
  if (opening) {
    opening.setAttribute("role", "alert");
    opening.textContent =
      `This page could not be started (${error.message ?? error}). It needs a browser of 2023 or newer; reloading may help.`;
  }
  if (mode === "bench") window.benchError = String(error);
  // The widgets around have nothing else to go by.
  if (mode === "engine") window.parent.postMessage(`huggingtweets:failed ${error.message ?? error}`, "*");
}
