// The service worker: serves page and engine from this device, all of one build, with the headers
// for cross-origin isolation, which the host may not send.
//
// A build is one list of files with their digests (build.js, by tools/stamp.sh). It is stored
// completely or not at all, in a cache of its own, and a page runs on one build throughout: a newer
// build waits until no page uses the old one.
importScripts("./build.js");

const SCOPE = self.registration.scope;
const PREFIX = "huggingtweets-page-";
/** One site may have several pages, each with a build of its own. */
const CACHE = `${PREFIX}${BUILD.id} ${SCOPE}`;
/** Descriptions, cards and pictures of bots, as last fetched. */
const BOTS = "huggingtweets-bots-1";
/** The names that src/card gives them. */
const BOT_FILES = /\/(bot\.json|README\.md|(predictions|pipeline|validation)\.png)$/;
/** Limit for a bot's file: that for a description in src/web/worker/source.rs. */
const MOST_BOT_FILE_BYTES = 16 << 20;

/** Same as in www/engine-choice.js, which a classic script cannot import. */
const RELAXED = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 19, 1, 17, 0,
  65, 0, 253, 15, 65, 0, 253, 15, 65, 0, 253, 15, 253, 147, 2, 11,
]);

const ISOLATION = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "cross-origin",
  "Content-Security-Policy": BUILD.policy,
};

/** A URL's path as a name; one that is escaped wrongly stays as it is. */
function unescaped(path) {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** The file of the build at a URL, or null. */
function fileOf(address) {
  const url = new URL(address);
  url.search = url.hash = "";
  if (!url.href.startsWith(SCOPE)) return null;
  const file = unescaped(url.href.slice(SCOPE.length)) || "index.html";
  return Object.hasOwn(BUILD.files, file) ? file : null;
}

/** Of the engine's four builds, this browser needs one or two. */
function isWanted(file) {
  const kernels = WebAssembly.validate(RELAXED) ? "relaxed" : "plain";
  return !file.startsWith("engine/") || file.startsWith(`engine/${kernels}-`);
}

async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Downloads a file, and checks that it is of this build. */
async function download(file) {
  // Some hosts redirect index.html to its folder.
  const url = new URL(file === "index.html" ? "./" : file, SCOPE);
  for (const cache of ["no-cache", "reload"]) {
    const response = await fetch(url, { cache });
    if (!response.ok) throw new Error(`${url} answered ${response.status}`);
    const bytes = await response.arrayBuffer();
    const digest = BUILD.files[file];
    // A document contains its bot's name, so it has the build's mark instead of a digest.
    const ours = digest ? (await sha256(bytes)) === digest : new TextDecoder().decode(bytes).includes(BUILD.id);
    if (ours) return new Response(bytes, { headers: headersOf(response) });
  }
  throw new Error(`${url} is of another build`);
}

function headersOf(response) {
  const headers = new Headers(ISOLATION);
  const type = response.headers.get("content-type");
  if (type) headers.set("Content-Type", type);
  return headers;
}

async function keep() {
  const cache = await caches.open(CACHE);
  for (const file of Object.keys(BUILD.files).filter(isWanted)) {
    const key = new URL(file, SCOPE);
    if (!(await cache.match(key))) await cache.put(key, await download(file));
  }
}

/** A file of the build; one that the browser evicted, or that was not needed, is downloaded. */
async function ofBuild(file) {
  const cache = await caches.open(CACHE);
  const key = new URL(file, SCOPE);
  const kept = await cache.match(key);
  if (kept) return kept;
  const response = await download(file);
  // Without space to store it, the page still works.
  await cache.put(key, response.clone()).catch(() => {});
  return response;
}

/** Stores a bot's file, unless the connection breaks or it is too long. */
async function keepBotFile(address, response) {
  let bytes = 0;
  const counted = new TransformStream({
    transform(piece, controller) {
      bytes += piece.length;
      if (bytes > MOST_BOT_FILE_BYTES) throw new RangeError(`${address} is longer than ${MOST_BOT_FILE_BYTES} bytes`);
      controller.enqueue(piece);
    },
  });
  const cache = await caches.open(BOTS);
  await cache.put(address, new Response(response.body.pipeThrough(counted), response));
}

/** Fetches from the network; without one, returns what was last fetched. */
async function fresh(event) {
  const { request } = event;
  try {
    const response = await fetch(request);
    const fits = !(Number(response.headers.get("content-length")) > MOST_BOT_FILE_BYTES);
    // The response does not wait for this: a body may be slow, or never end.
    if (response.ok && response.body && fits) event.waitUntil(keepBotFile(request.url, response.clone()).catch(() => {}));
    return response;
  } catch (error) {
    const kept = await (await caches.open(BOTS)).match(request.url);
    if (kept) return kept;
    throw error;
  }
}

self.addEventListener("install", (event) => event.waitUntil(keep()));

/** Whether a cache has an old build of this page. Names once had no scope, only what is kept has. */
async function isOld(name) {
  if (!name.startsWith(PREFIX) || name === CACHE) return false;
  if (name.includes(" ")) return name.endsWith(` ${SCOPE}`);
  return Boolean(await (await caches.open(name)).match(new URL("index.html", SCOPE)));
}

async function removeOld() {
  for (const name of await caches.keys()) {
    if (await isOld(name)) await caches.delete(name);
  }
}

self.addEventListener("activate", (event) => event.waitUntil(removeOld()));

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || request.headers.has("range")) return;
  const file = fileOf(request.url);
  const { pathname } = new URL(request.url);
  if (file !== null) event.respondWith(ofBuild(file));
  else if (BOT_FILES.test(pathname)) event.respondWith(fresh(event));
});

/** Whether only one page is open; one that was just closed is still listed for a moment. */
async function alone() {
  // Other pages of the site do not change with it; the archive check is a frame of the page that
  // asks, and does.
  const isPage = ({ url }) => url.startsWith(SCOPE) && fileOf(url) !== "check.html";
  for (let tries = 0; tries < 6; tries++) {
    if (tries) await new Promise((later) => setTimeout(later, 100));
    const all = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
    if (all.filter(isPage).length <= 1) return true;
  }
  return false;
}

// A page that has not started yet asks which build it would get, and may change to the newer one,
// if no other page would change with it.
self.addEventListener("message", (event) => {
  const [port] = event.ports;
  if (event.data === "which build") port?.postMessage(BUILD.id);
  if (event.data !== "take over") return;
  event.waitUntil(alone().then((yes) => (yes ? self.skipWaiting() : port?.postMessage("no"))));
});
