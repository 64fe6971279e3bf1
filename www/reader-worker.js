// Renders a card, or reads an archive, and answers once. Nothing can be fetched in the archive
// check's frame: there the readers come with the message.
import init, { check_archive, render_card } from "./reader/reader.js";

self.onmessage = async ({ data }) => {
  const request = typeof data === "string" ? JSON.parse(data) : data;
  try {
    const module_or_path = request.readers ?? new URL("./reader/reader_bg.wasm", import.meta.url);
    await init({ module_or_path });
    if (request.card) self.postMessage(render_card(JSON.stringify(request.card)));
    else self.postMessage({ check: JSON.parse(check_archive(request.file)) });
  } catch (error) {
    // The readers' own sentences are strings; anything else is a crash.
    if (request.card) self.postMessage(null);
    else if (typeof error === "string") self.postMessage({ refused: error });
    else self.postMessage({ crashed: String(error?.message ?? error) });
  }
};
