// The archive check's frame: takes a file, has a worker read it under this frame's own policy, and
// shows its content, all inserted as text.
const [drop, choose, kinds, input, said] = ["drop", "choose", "kinds", "file", "said"].map((id) =>
  document.getElementById(id),
);
const ours = window.parent !== window;
let words = {};
let language = "en";
let readers = null;
/** Whether the readers have been requested but have not arrived. */
let asked = false;
/** A file that was chosen before the readers arrived. */
let waiting = null;
/** The worker that reads the file chosen last. */
let reader = null;
let shown = () => [];

const fill = (sentence, values) => sentence.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
const number = (n) => n.toLocaleString(language);

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

/**
 * The reader's script, once for all workers. A worker from a blob URL inherits this frame's policy;
 * one from a file would have its own.
 */
const script = URL.createObjectURL(
  new Blob([`import ${JSON.stringify(new URL("./reader-worker.js", import.meta.url).href)};`], { type: "text/javascript" }),
);
const worker = () => new Worker(script, { type: "module" });

function ask() {
  asked = true;
  window.parent.postMessage({ type: "huggingtweets:check-ready" }, location.origin);
}

function read(file) {
  reader?.terminate();
  reader = null;
  show(() => [element("p", fill(words.CheckReading, { name: file.name }))]);
  if (!readers) {
    waiting = file;
    if (!asked) ask();
    return;
  }
  const current = worker();
  reader = current;
  const settle = (result) => {
    // It may have answered while it was being terminated.
    if (current !== reader) return;
    reader.terminate();
    show(() => result(file.name));
  };
  reader.onmessage = ({ data }) => {
    if (data.check) settle((name) => outcome(name, data.check));
    else settle(() => problem(data.refused ?? words.Crashed, Boolean(data.refused)));
  };
  reader.onerror = (event) => {
    event.preventDefault();
    settle(() => problem(words.Crashed, false));
  };
  reader.postMessage({ readers, file });
}

function problem(sentence, english) {
  const said = element("span", sentence);
  if (english) said.lang = "en";
  const alert = element("p", "", `${words.CheckFailed} `, said);
  alert.className = "alert";
  return [alert];
}

function outcome(name, { counts, unreadable, warning, chars, verdict, examples, minutes }) {
  const table = element("table", "", element("caption", fill(words.CheckResult, { name })));
  const rows = [
    [words.Downloaded, counts.tweets_downloaded],
    [words.Retweets, counts.retweets],
    [words.Short, counts.short_tweets],
    [words.Kept, counts.tweets_kept],
    [words.CheckChars, chars],
    ...(unreadable > 0 ? [[words.CheckUnreadable, unreadable]] : []),
  ];
  const body = element("tbody");
  for (const [label, count] of rows) {
    const head = element("th", label);
    head.scope = "row";
    body.append(element("tr", "", head, element("td", number(count))));
  }
  table.append(body);
  const sentence = element("p", words[`Check${verdict}`]);
  sentence.className = `check-verdict ${verdict}`;
  const parts = [sentence, table];
  if (warning) {
    const english = element("span", `${warning}.`);
    english.lang = "en";
    const note = element("p", "", `${words.CheckUnnamed} `, english);
    note.className = "check-warning";
    parts.splice(1, 0, note);
  }
  if (verdict !== "TooFew") parts.push(element("p", fill(words.CheckMinutes, { minutes: number(minutes) })));
  if (examples.length > 0) {
    const list = element("ul");
    for (const example of examples) {
      const item = element("li", example);
      item.dir = "auto";
      list.append(item);
    }
    const title = element("p", words.CheckExamples);
    title.className = "check-examples";
    parts.push(title, list);
  }
  return parts;
}

function show(make) {
  shown = make;
  said.replaceChildren(...make());
}

input.addEventListener("change", () => {
  if (input.files[0]) read(input.files[0]);
  input.value = "";
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
document.addEventListener("dragleave", () => drop.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files[0]) read(event.dataTransfer.files[0]);
});

/** Applies the page's sentences and colours. */
function speak(told) {
  words = told.words;
  language = told.language;
  document.documentElement.lang = language;
  document.documentElement.dataset.theme = told.theme;
  document.title = words.CheckFrame;
  document.getElementById("heading").textContent = words.CheckFrame;
  choose.textContent = words.CheckChoose;
  kinds.textContent = words.CheckKinds;
  show(shown);
}

/** Takes the readers; null if they could not be fetched. */
function equip(given) {
  asked = false;
  readers ??= given;
  const file = waiting;
  waiting = null;
  if (file && readers) read(file);
  else if (file) show(() => problem(words.CheckNoReaders, false));
}

window.addEventListener("message", ({ source, origin, data }) => {
  if (source !== window.parent || origin !== location.origin) return;
  if (data?.type === "huggingtweets:check") speak(data);
  if (data?.type === "huggingtweets:check-readers") equip(data.readers);
});

if (ours) {
  const tell = () => {
    const height = Math.ceil(document.body.getBoundingClientRect().height) + 2;
    window.parent.postMessage({ type: "huggingtweets:check-height", height }, location.origin);
  };
  new ResizeObserver(tell).observe(document.body);
  ask();
}
