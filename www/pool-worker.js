// A thread of the engine: the same module over the same memory. It reports that it has joined, and
// then only computes or sleeps.
self.onmessage = async ({ data: { glue, module, memory } }) => {
  let engine;
  try {
    engine = await import(glue);
    await engine.default({ module_or_path: module, memory });
    engine.join();
  } catch (error) {
    self.postMessage({ failed: String(error?.message ?? error) });
    self.close();
    return;
  }
  self.postMessage({ joined: true });
  try {
    engine.serve();
  } catch (error) {
    console.error("a thread of the engine died:", error);
    // The engine may be waiting for what this thread had begun.
    engine.fail();
  }
  self.close();
};
