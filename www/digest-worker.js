// SHA-256 beside the engine: a browser may compute a digest on the thread that
// asks for it. Takes bytes, gives [digest, bytes] back in the order of asking;
// the digest is null where the browser has none to offer.
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
