// Bytes per second that several threads read together, each its part of `bytes`.
import { leave, query } from "./runs.js";

const PASS_MS = 400;

leave(async () => {
  const threads = Number(query.threads);
  const bytes = Math.ceil(Number(query.bytes) / threads);
  const workers = Array.from({ length: threads }, () => new Worker("./reader.js"));
  const ask = (order) => Promise.all(workers.map((worker) => new Promise((answered, failed) => {
    worker.onmessage = ({ data }) => answered(data);
    worker.onerror = (event) => failed(new Error(event.message));
    worker.postMessage(order);
  })));
  await ask({ bytes });
  const speeds = await ask({ ms: PASS_MS });
  window.benchResult = { read_gb_per_s: speeds.reduce((sum, speed) => sum + speed, 0) };
});
