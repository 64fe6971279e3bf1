// The page's side of its service worker (sw.js): registered when the page is
// there and idle, so that the first visit is not slowed; a build that waits is taken
// over before anything of the old one has started.

/** A worker that has to wake up answers in far less. */
const ANSWER_MS = 2000;
/** Of this tab: the build that it was last loaded anew for. */
const CHANGED = "huggingtweets-changed-to";
const workers = navigator.serviceWorker;

/** What a worker answers to a word, or null where it says nothing in time. */
function answer(worker, word) {
  const { port1, port2 } = new MessageChannel();
  const said = new Promise((go) => (port1.onmessage = ({ data }) => go(data)));
  const late = new Promise((go) => setTimeout(go, ANSWER_MS, null));
  worker.postMessage(word, [port2]);
  return Promise.race([said, late]);
}

/** Loads the page anew; what stands after it is never run. */
function startAgain() {
  location.reload();
  return new Promise(() => {});
}

/** Resolves when the page may start; a page that changes its build never does. */
export async function newestBuild() {
  const { controller } = workers ?? {};
  if (!controller) return;
  // Only a page that is just starting is given another build: by its own wish below,
  // or because the last page of the old one ended while this one was on its way.
  const changed = new Promise((go) => workers.addEventListener("controllerchange", () => go(startAgain()), { once: true }));
  const registration = await workers.getRegistration().catch(() => null);
  if (registration?.waiting) {
    const refused = answer(registration.waiting, "take over");
    await Promise.race([changed, refused]);
  }
  // The document came from the old build, and all else would come from the new one.
  const build = await answer(controller, "which build");
  const own = document.querySelector('meta[name="build"]')?.content;
  if (build && build !== own && isFirst(build)) await startAgain();
}

/** Whether this tab has not been loaded anew for that build yet. */
function isFirst(build) {
  try {
    const before = sessionStorage.getItem(CHANGED);
    sessionStorage.setItem(CHANGED, build);
    return before !== build;
  } catch {
    return false;
  }
}

/** Has page and engine kept for visits without a network. */
export function workOffline() {
  if (!workers) return;
  const register = () => {
    const script = new URL("./sw.js", import.meta.url);
    // Not on a secure address, or no room: the page works without.
    workers.register(script, { updateViaCache: "none" }).catch(() => {});
  };
  const whenIdle = self.requestIdleCallback ?? ((task) => setTimeout(task, 1000));
  if (document.readyState === "complete") whenIdle(register);
  else addEventListener("load", () => whenIdle(register), { once: true });
}
