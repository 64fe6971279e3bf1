// Reading and SHA-256 beside the engine, which would otherwise wait for them. To here:
// bytes, whose [digest, bytes] come back in the order of asking; { file }, whose chunks
// on this device come as { chunk: [digest, bytes] } before the engine is there to ask
// (null: nobody knows which); { room }, memory for another of them; { stop }. A digest is
// null where the browser has none to offer. From here also: null, this script listens;
// { end }, no chunk comes any more, and the file is closed.

/** As in src/bundle/manifest.rs. */
const CHUNK_BYTES = 4 << 20;

/** Chunks that wait to be taken. */
const MOST_AHEAD = 8;

async function digestOf(bytes) {
  try {
    return await crypto.subtle.digest("SHA-256", bytes);
  } catch {
    // Who asked takes it itself.
    return null;
  }
}

async function answer(bytes) {
  self.postMessage([await digestOf(bytes), bytes], [bytes.buffer]);
}

const hex = (digest) => Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** A file where src/web/worker/storage/opfs.rs keeps it; throws where it is not. */
async function open({ url, sha256 }) {
  const address = hex(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(url)));
  let folder = await navigator.storage.getDirectory();
  for (const name of ["huggingtweets-weights", address]) folder = await folder.getDirectoryHandle(name);
  const file = await folder.getFileHandle(sha256);
  // Other tabs may read it meanwhile.
  return file.createSyncAccessHandle({ mode: "read-only" });
}

const rooms = [];
let [waiting, stopped, wake] = [0, false, () => {}];

/** Room for a chunk, as soon as few enough wait. */
async function roomFor(length) {
  while (waiting >= MOST_AHEAD && !stopped) await new Promise((go) => (wake = go));
  const room = rooms.pop();
  return room?.length === length ? room : new Uint8Array(length);
}

async function readAhead(file) {
  let handle;
  try {
    handle = await open(file);
    for (let at = 0; at < file.size && !stopped; at += CHUNK_BYTES) {
      const room = await roomFor(Math.min(CHUNK_BYTES, file.size - at));
      if (stopped || handle.read(room, { at }) !== room.length) break;
      const digest = await digestOf(room);
      waiting += 1;
      self.postMessage({ chunk: [digest, room] }, [room.buffer]);
    }
  } catch {
    // Unknown, not here, or in use: the engine looks for itself.
  }
  handle?.close();
  self.postMessage({ end: true });
}

let last = Promise.resolve();
self.onmessage = ({ data }) => {
  if (data instanceof Uint8Array) {
    last = last.then(() => answer(data));
  } else if ("file" in data) {
    readAhead(data.file);
  } else if (data.room) {
    rooms.push(data.room);
    waiting -= 1;
    wake();
  } else {
    stopped = true;
    wake();
  }
};
// Ready.
self.postMessage(null);
