// Lighthouse on a page: `node run.mjs URL [README]`. Prints the scores, writes
// them between the README's marks, and fails under 95.
import { readFileSync, writeFileSync } from "node:fs";
import * as chromeLauncher from "chrome-launcher";
import lighthouse, { desktopConfig } from "lighthouse";
import { chromium } from "../web/browsers.mjs";

const LEAST = 95;
const CATEGORIES = ["performance", "accessibility", "best-practices"];
const [, , url, readme] = process.argv;

const chromePath = chromium();
const chromeFlags = ["--headless=new", "--no-sandbox", "--disable-quic"];
// One run hangs on what else the machine does; Lighthouse's own advice is the median of five.
const RUNS = 5;

async function audit(config) {
  const chrome = await chromeLauncher.launch({ chromePath, chromeFlags });
  try {
    const { lhr } = await lighthouse(url, { port: chrome.port, onlyCategories: CATEGORIES, logLevel: "error" }, config);
    return lhr;
  } finally {
    await chrome.kill();
  }
}

const performance = (lhr) => lhr.categories.performance.score;
const rows = [];
for (const [form, config] of [["phone", undefined], ["desktop", desktopConfig]]) {
  const runs = [];
  while (runs.length < RUNS) runs.push(await audit(config));
  const lhr = runs.sort((a, b) => performance(a) - performance(b))[RUNS >> 1];
  const scores = CATEGORIES.map((category) => Math.round(100 * lhr.categories[category].score));
  rows.push([form, ...scores, `${(lhr.audits["first-contentful-paint"].numericValue / 1000).toFixed(1)} s`]);
  console.error(`${form}: performance ${runs.map((run) => Math.round(100 * performance(run))).join(", ")}`);
  for (const { id, score, title } of Object.values(lhr.audits)) {
    if (score !== null && score < 0.9) console.error(`${form}: ${id} ${score} ${title}`);
  }
}
const table = [
  "| Lighthouse | performance | accessibility | best practices | first paint |",
  "| --- | --- | --- | --- | --- |",
  ...rows.map((row) => `| ${row.join(" | ")} |`),
].join("\n");
console.log(table);
if (readme) {
  const text = readFileSync(readme, "utf8");
  const marks = /(<!-- lighthouse -->\n)[^]*?(<!-- \/lighthouse -->)/;
  if (!marks.test(text)) throw new Error(`${readme} has no <!-- lighthouse --> marks`);
  writeFileSync(readme, text.replace(marks, (_, before, after) => `${before}${table}\n${after}`));
}
if (rows.some((row) => row.slice(1, 4).some((score) => score < LEAST))) {
  console.error(`a score is under ${LEAST}`);
  process.exit(1);
}
