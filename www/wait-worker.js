// Waits in shared memory for a worker that must not block (www/worker-start.js).
self.onmessage = ({ data: { array, index, value } }) => self.postMessage(Atomics.wait(array, index, value));
