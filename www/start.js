// Starts the page. A file of its own, because a strict Content-Security-Policy allows no script
// inside the HTML.

const { mode } = document.documentElement.dataset;

// The chosen colours at once (src/web/app/browser.rs keeps them): the page would else change when
// its program has come.
try {
  if (mode === "page") document.documentElement.dataset.theme = localStorage.getItem("huggingtweets.theme") ?? "";
} catch {
  // No storage, no choice.
}

// Both load in parallel with what follows. Only the page has a service worker.
const program = import("./app.js");
const offline = mode === "page" ? import("./offline.js") : null;
for (const coming of [program, offline]) coming?.catch(() => {});

/** With fewer cores the page comes first: the engine would delay it. */
const CORES_FOR_BOTH = 4;

/**
 * Starts the engine's worker in parallel with the page's program, with the options that the program
 * will most likely request (src/web/page/worker_options.rs); the program then adopts it.
 */
function startWorker() {
  const asked = new URLSearchParams(location.search);
  const options = new URLSearchParams();
  options.append("model", new URL(asked.get("model") || "bot/", document.baseURI));
  options.append("file", `model-${asked.get("precision") || "q8_0"}.gguf`);
  for (const name of ["threads", "simd", "memory"]) {
    if (asked.get(name)) options.append(name, asked.get(name));
  }
  const worker = new Worker(new URL(`./worker-start.js?${options}`, import.meta.url), { type: "module" });
  // If it dies before the program has loaded, the program starts another.
  worker.onerror = () => delete window.startedWorker;
  worker.onmessage = ({ data }) => data?.died !== undefined && worker.onerror();
  return worker;
}

try {
  if (offline) await (await offline).newestBuild();
  if (mode !== "page" || navigator.hardwareConcurrency >= CORES_FOR_BOTH) {
    try {
      window.startedWorker = startWorker();
    } catch {
      // The program tries again and reports why.
    }
  }
  const { default: init } = await program;
  await init({ module_or_path: new URL("./app_bg.wasm", import.meta.url) });
  if (offline) (await offline).workOffline();
} catch (error) {
  const opening = document.querySelector("#placeholder .opening, #bench");
  if (opening) {
    opening.setAttribute("role", "alert");
    opening.textContent =
      `This page could not be started (${error.message ?? error}). It needs a browser of 2023 or newer; reloading may help.`;
  }
  if (mode === "bench") window.benchError = String(error);
  // The embedding page's widgets have no other sign of it.
  if (mode === "engine") window.parent.postMessage(`huggingtweets:failed ${error.message ?? error}`, "*");
}
