// Loads the engine's worker and watches it: the page's bridge to the worker
// cannot see it die, so whatever kills it is reported on a channel of its own.
const line = new BroadcastChannel(new URL(self.location.href).searchParams.get("line"));

function die(reason) {
  line.postMessage(String(reason ?? ""));
  self.close();
}

// The page has no use for a worker that it gave up.
line.onmessage = () => self.close();
self.addEventListener("error", (event) => {
  event.preventDefault();
  die(event.message);
});
self.addEventListener("unhandledrejection", (event) => {
  if (!(event.reason instanceof WebAssembly.RuntimeError)) return;
  event.preventDefault();
  die(event.reason.message);
});

try {
  const { default: init } = await import("./worker.js");
  await init({ module_or_path: new URL("./worker_bg.wasm", import.meta.url) });
} catch (error) {
  die(error?.message ?? error);
}
