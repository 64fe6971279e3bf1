// Renders a card, or reads an archive, and answers once. Nothing can be fetched in the archive
// check's frame: there the readers come with the message.
import init, { check_archive, render_card } from "./reader/reader.js";

self.onmessage = async ({ data }) => {
  const order = typeof data === "string" ? JSON.parse(data) : data;
  try {
    const module_or_path = order.readers ?? new URL("./reader/reader_bg.wasm", import.meta.url);
    await init({ module_or_path });
    if (order.card) self.postMessage(render_card(JSON.stringify(order.card)));
    else self.postMessage({ check: JSON.parse(check_archive(order.file)) });
  } catch (error) {
    // The readers' own sentences are strings; anything else is a crash.
    if (order.card) self.postMessage(null);
    else if (typeof error === "string") self.postMessage({ refused: error });
    else self.postMessage({ crashed: String(error?.message ?? error) });
  }
};
