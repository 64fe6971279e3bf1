// The page's side of its service worker (sw.js). It is registered when the page is loaded and idle,
// so that the first visit is not slowed; a waiting build takes over before anything of the old one
// has started.

/** Timeout for the service worker's answer; even one that has to wake up takes far less. */
const ANSWER_MS = 2000;
/** Session storage key: the build for which this tab was last reloaded. */
const CHANGED = "huggingtweets-changed-to";
const workers = navigator.serviceWorker;

/** A service worker's answer to a message, or null on timeout. */
function answer(worker, word) {
  const { port1, port2 } = new MessageChannel();
  const said = new Promise((go) => (port1.onmessage = ({ data }) => go(data)));
  const late = new Promise((go) => setTimeout(go, ANSWER_MS, null));
  worker.postMessage(word, [port2]);
  return Promise.race([said, late]);
}

/** Reloads the page; the promise never settles. */
function startAgain() {
  location.reload();
  return new Promise(() => {});
}

/** Resolves when the page may start; never if it reloads into another build. */
export async function newestBuild() {
  const { controller } = workers ?? {};
  if (!controller) return;
  // Only a page that is just starting changes its build: on its own request below, or because the
  // last page of the old build was closed while this one was loading.
  const changed = new Promise((go) => workers.addEventListener("controllerchange", () => go(startAgain()), { once: true }));
  const registration = await workers.getRegistration().catch(() => null);
  if (registration?.waiting) {
    const refused = answer(registration.waiting, "take over");
    await Promise.race([changed, refused]);
  }
  // The document came from the old build, and everything else would come from the new one.
  const build = await answer(controller, "which build");
  const own = document.querySelector('meta[name="build"]')?.content;
  if (build && build !== own && isFirst(build)) await startAgain();
}

/** Whether this tab has not been reloaded for that build yet; records that it is. */
function isFirst(build) {
  try {
    const before = sessionStorage.getItem(CHANGED);
    sessionStorage.setItem(CHANGED, build);
    return before !== build;
  } catch {
    return false;
  }
}

/** Has the service worker store page and engine for offline visits. */
export function workOffline() {
  if (!workers) return;
  const register = () => {
    const script = new URL("./sw.js", import.meta.url);
    // On an insecure origin or without space, the page works without.
    workers.register(script, { updateViaCache: "none" }).catch(() => {});
  };
  const whenIdle = self.requestIdleCallback ?? ((task) => setTimeout(task, 1000));
  if (document.readyState === "complete") whenIdle(register);
  else addEventListener("load", () => whenIdle(register), { once: true });
}
