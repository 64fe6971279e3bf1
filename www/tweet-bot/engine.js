// The engine of a page's widgets, in a hidden document; part of www/tweet-bot.js.

const OPEN = "huggingtweets:open";
const HERE = "huggingtweets:here";
const FAILED = "huggingtweets:failed ";
/** Timeout from the load of the engine's document to its first message. */
const SILENT_MS = 60_000;
/** Timeout for that load: in Firefox a forbidden document never loads, but a connection may be slow. */
const UNLOADED_MS = 180_000;
/** Delay before an unused engine ends: an element that moves within its page keeps it. */
const LINGER_MS = 2000;

/** One engine; elements exchange messages with it over ports. */
class Engine {
  static #all = new Map();

  #address;
  #frame = document.createElement("iframe");
  /** The frame's window; if the page moves or removes the frame, it changes or becomes null. */
  #window;
  /** The origin of the engine's document, once it listens: the URL may redirect to another. */
  #here = null;
  #links = new Set();
  #patience;
  #moves = new MutationObserver(() => this.#check());

  /** A connection to the engine at an address; `heard` is called with its messages. */
  static connect(address, heard) {
    Engine.#all.get(address)?.#check();
    let engine = Engine.#all.get(address);
    if (!engine) Engine.#all.set(address, (engine = new Engine(address)));
    return engine.#connect(heard);
  }

  constructor(address) {
    this.#address = address;
    const frame = this.#frame;
    frame.hidden = true;
    // A page's own style may show hidden elements, and insist.
    frame.style.setProperty("display", "none", "important");
    frame.title = "huggingtweets";
    frame.allow = "cross-origin-isolated";
    frame.src = address;
    frame.addEventListener("load", () => this.#expect(SILENT_MS));
    this.#expect(UNLOADED_MS);
    window.addEventListener("message", this);
    document.addEventListener("securitypolicyviolation", this);
    // Beside the body, which some pages replace when they navigate.
    document.documentElement.append(frame);
    this.#window = frame.contentWindow;
    this.#moves.observe(document.documentElement, { childList: true });
  }

  handleEvent(event) {
    if (event.type === "message") this.#hear(event);
    else this.#hearPolicy(event);
  }

  #hear({ source, data, origin }) {
    if (source !== this.#frame.contentWindow || typeof data !== "string") return;
    if (data === HERE) {
      // The ports belong to the former document.
      if (this.#here) return this.#fail("it was reloaded, and unfinished drafts are lost; press Retry to start it again");
      this.#here = origin;
      for (const link of this.#links) this.#open(link);
    } else if (data.startsWith(FAILED)) {
      this.#fail(data.slice(FAILED.length));
    }
  }

  #hearPolicy({ disposition, effectiveDirective, blockedURI }) {
    const { origin } = new URL(this.#address);
    const ours = effectiveDirective === "frame-src" && `${blockedURI}/`.startsWith(`${origin}/`);
    if (!ours || disposition !== "enforce" || this.#here) return;
    this.#fail(`this page's Content-Security-Policy blocks it; frame-src must allow ${origin}`);
  }

  #expect(ms) {
    clearTimeout(this.#patience);
    const reason =
      `no answer in ${ms / 1000} s; perhaps this page blocks it by its Content-Security-Policy (frame-src) ` +
      "or its Cross-Origin-Embedder-Policy, which the engine's site must then send too";
    this.#patience = setTimeout(() => this.#here || this.#fail(reason), ms);
  }

  /** Fails if the page has removed the frame, or moved it, which reloads it. */
  #check() {
    if (this.#frame.contentWindow !== this.#window) this.#fail("this page removed or moved it; press Retry to start it again");
  }

  #connect(heard) {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }) => heard(JSON.parse(data));
    const link = {
      heard,
      port: port2,
      ask: (ask) => port1.postMessage(JSON.stringify(ask)),
      check: () => this.#check(),
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
    // End first, so that listeners can start a new engine.
    this.#end();
    const message = `${this.#address.split("?")[0]}: ${reason}`;
    for (const { heard } of links) heard({ tell: "failed", id: null, message, retryable: true, gone: true });
  }

  #end() {
    this.#links.clear();
    if (Engine.#all.get(this.#address) === this) Engine.#all.delete(this.#address);
    clearTimeout(this.#patience);
    this.#moves.disconnect();
    document.removeEventListener("securitypolicyviolation", this);
    window.removeEventListener("message", this);
    this.#frame.remove();
  }
}
