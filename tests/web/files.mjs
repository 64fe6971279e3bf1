// Plain HTTP servers on free ports, and the files that they serve.
import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join } from "node:path";

const TYPES = {
  ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".json": "application/json",
  ".svg": "image/svg+xml", ".wasm": "application/wasm",
};

/** The file below `root` at a URL's path, or null. */
export function fileAt(root, path) {
  const file = join(root, decodeURIComponent(path.replace(/\/$/, "/index.html")));
  return file.startsWith(root) && existsSync(file) && statSync(file).isFile() ? file : null;
}

/** Sends a file; 404 if it is null. */
export function send(response, file) {
  if (!file) return response.writeHead(404).end();
  response.setHeader("Content-Type", TYPES[extname(file)] ?? "application/octet-stream");
  response.setHeader("Content-Length", statSync(file).size);
  createReadStream(file, { highWaterMark: 256 << 10 }).pipe(response);
}

/** Starts a server that calls `answer(request, response, pathname)`. */
export async function listen(answer) {
  const server = createServer((request, response) => answer(request, response, new URL(request.url, "http://x").pathname));
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { origin: `http://127.0.0.1:${server.address().port}`, close };
}
