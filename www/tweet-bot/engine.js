// The engine of a page's widgets, in a hidden document; part of www/tweet-bot.js.

const OPEN = "huggingtweets:open";
const HERE = "huggingtweets:here";
const FAILED = "huggingtweets:failed ";
/** From the load of the engine's document to its first word. */
const SILENT_MS = 60_000;
/** An element that only moves in its page keeps its engine. */
const LINGER_MS = 2000;

/** One engine; elements speak to it over ports. */
class Engine {
  static #all = new Map();

  #address;
  #frame = document.createElement("iframe");
  /** The origin of the engine's document, once that listens: its address may lead to another. */
  #here = null;
  #links = new Set();

  /** A line to the engine at an address; `heard` is called with what it tells. */
  static connect(address, heard) {
    let engine = Engine.#all.get(address);
    if (!engine) Engine.#all.set(address, (engine = new Engine(address)));
    return engine.#connect(heard);
  }

  constructor(address) {
    this.#address = address;
    const frame = this.#frame;
    frame.hidden = true;
    frame.title = "huggingtweets";
    frame.allow = "cross-origin-isolated";
    frame.src = address;
    frame.addEventListener("load", () => setTimeout(() => this.#here || this.#fail(`no answer in ${SILENT_MS / 1000} s`), SILENT_MS));
    window.addEventListener("message", this);
    (document.body ?? document.documentElement).append(frame);
  }

  handleEvent({ source, data, origin }) {
    if (source !== this.#frame.contentWindow || typeof data !== "string") return;
    if (data === HERE) {
      this.#here = origin;
      for (const link of this.#links) this.#open(link);
    } else if (data.startsWith(FAILED)) {
      this.#fail(data.slice(FAILED.length));
    }
  }

  #connect(heard) {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }) => heard(JSON.parse(data));
    const link = {
      heard,
      port: port2,
      ask: (ask) => port1.postMessage(JSON.stringify(ask)),
      leave: () => {
        link.ask({ ask: "leave" });
        port1.onmessage = null;
        this.#links.delete(link);
        setTimeout(() => this.#links.size || this.#end(), LINGER_MS);
      },
    };
    this.#links.add(link);
    if (this.#here) this.#open(link);
    return link;
  }

  #open(link) {
    this.#frame.contentWindow.postMessage(OPEN, this.#here, [link.port]);
  }

  #fail(reason) {
    const links = [...this.#links];
    // First, so that whoever is told can begin again.
    this.#end();
    const message = `${this.#address.split("?")[0]}: ${reason}`;
    for (const { heard } of links) heard({ tell: "failed", id: null, message, retryable: true, gone: true });
  }

  #end() {
    this.#links.clear();
    if (Engine.#all.get(this.#address) === this) Engine.#all.delete(this.#address);
    window.removeEventListener("message", this);
    this.#frame.remove();
  }
}
