// Starts the command's own server, for browser tests and benchmarks.
import { spawn } from "node:child_process";

/** Runs `serve` with a page's files and a bot, on a free port. */
export async function serveWith(bin, assets, model) {
  const args = ["serve", "--assets", assets, "--port", "0", "--model", model];
  const server = spawn(bin, args, { stdio: ["ignore", "pipe", "inherit"] });
  const origin = await new Promise((found, failed) => {
    let said = "";
    server.stdout.on("data", (text) => {
      said += text;
      const address = /http:\/\/[^\s/]+/.exec(said);
      if (address) found(address[0]);
    });
    server.once("error", (error) => failed(new Error(`${bin} could not be started: ${error.message}`)));
    server.once("exit", (code) => failed(new Error(`serve ended with ${code}: ${said}`)));
  });
  return { origin, close: () => server.kill("SIGTERM") };
}
