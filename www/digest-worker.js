// Computes SHA-256 off the engine's thread. Posts null once it listens, then answers each message
// (bytes) with [digest, bytes], in order; the digest is null if the browser cannot compute it.

async function answer(bytes) {
  let digest = null;
  try {
    digest = await crypto.subtle.digest("SHA-256", bytes);
  } catch {
    // The sender computes it itself.
  }
  self.postMessage([digest, bytes], [bytes.buffer]);
}

let last = Promise.resolve();
self.onmessage = ({ data }) => {
  last = last.then(() => answer(data));
};
self.postMessage(null);
