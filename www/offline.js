// The page's side of its service worker (sw.js): registered when the page has
// its bot, so that the first visit is not slowed; a build that waits is taken
// over before anything of the old one has started.

const TAKE_OVER_MS = 2000;
const workers = navigator.serviceWorker;

/** Resolves when the page may start; a page that changes its build never does. */
export async function newestBuild() {
  if (!workers?.controller) return;
  const registration = await workers.getRegistration().catch(() => null);
  if (!registration?.waiting) return;
  const changed = new Promise((yes) => workers.addEventListener("controllerchange", () => yes(true), { once: true }));
  const late = new Promise((no) => setTimeout(no, TAKE_OVER_MS, false));
  const { port1, port2 } = new MessageChannel();
  const refused = new Promise((no) => (port1.onmessage = () => no(false)));
  registration.waiting.postMessage("take over", [port2]);
  if (await Promise.race([changed, refused, late])) {
    location.reload();
    await new Promise(() => {});
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
