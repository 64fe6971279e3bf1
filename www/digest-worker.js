// SHA-256 beside the engine, which would otherwise wait for it. To here: bytes, whose
// [digest, bytes] come back in the order of asking. A digest is null where the browser
// has none to offer. From here also: null, this script listens.

async function answer(bytes) {
  let digest = null;
  try {
    digest = await crypto.subtle.digest("SHA-256", bytes);
  } catch {
    // Who asked takes it itself.
  }
  self.postMessage([digest, bytes], [bytes.buffer]);
}

let last = Promise.resolve();
self.onmessage = ({ data }) => {
  last = last.then(() => answer(data));
};
// Ready.
self.postMessage(null);
