// <tweet-bot model="https://…/bot/" prompt="My dream is"></tweet-bot>
//
// A bot on any page, as a module or a classic script. The element renders in its shadow root; the
// engine runs in a hidden document of the script's own site (engine.html), because no page may
// start another origin's worker. Elements with the same bot share one. Nothing is fetched until an
// element is seen (with the attribute `lazy`: until it is used).
(() => {
  if (!globalThis.customElements || customElements.get("tweet-bot")) return;

  /** Attributes that decide which engine an element needs. */
  const ENGINE = ["model", "precision", "backend", "threads", "host"];
  /** Attributes that are also properties. */
  const OPTIONS = [...ENGINE, "prompt", "drafts", "seed", "theme"];
  /** A bot's own page, beside engine.html; tools/npm.sh names another, as a package has none. */
  const PAGE = "";
  /** How long a button shows the result of a click. */
  const ANSWER_MS = 2000;
  const START = "My dream is";
  const DRAFTS = 5;
  const MOST_DRAFTS = 16;

  // import.meta is an error in a classic script, and currentScript is null in a module.
  const own = (() => {
    if (document.currentScript?.src) return document.currentScript.src;
    const called = /(https?:\/\/[^\s()]*\/tweet-bot\.js[^\s():]*)/.exec(new Error().stack ?? "");
    if (called) return called[1];
    return document.querySelector('script[src*="tweet-bot.js"]')?.src ?? null;
  })();

  /** The folder with engine.html; in a bundle, where the package's copy command puts it. */
  const home = () => new URL("./", own ?? new URL("tweet-bot/", document.baseURI)).href;

  //= tweet-bot/words.js
  //= tweet-bot/look.js
  //= tweet-bot/engine.js

  /** Resolves a URL against the page; an invalid one stays for the engine's error message, or is `invalid`. */
  function whole(address, invalid = address) {
    try {
      return new URL(address, document.baseURI).href;
    } catch {
      return invalid;
    }
  }

  /**
   * Keeps typed letters from the page's keyboard shortcuts. To the page, they come from the element,
   * which is no text field.
   */
  function keepLetter(event) {
    const { key, ctrlKey, metaKey, altKey } = event;
    const isLetter = key?.length === 1 || event.isComposing;
    if (isLetter && !ctrlKey && !metaKey && !altKey) event.stopPropagation();
  }

  /** Updates a live region only if its text differs, as any change is announced again. */
  function say(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  class TweetBot extends HTMLElement {
    static observedAttributes = [...OPTIONS, "lang", "lazy"];

    #root = null;
    #language = "en";
    #words = WORDS.en;
    #link = null;
    #state = { tell: "idle" };
    #speed = null;
    #bot = null;
    /** The generation under way: { id, options, promise, resolve, reject }. */
    #run = null;
    #lastId = 0;
    #texts = [];
    /** The error: { word, message, retryable }; the message is the engine's, in English. */
    #problem = null;
    /** The options of a generation that a failure ended: Retry starts it again. */
    #again = null;
    #seen = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) this.#want();
    });

    /** The current drafts. */
    get texts() {
      return [...this.#texts];
    }

    get lazy() {
      return this.hasAttribute("lazy");
    }

    set lazy(value) {
      this.toggleAttribute("lazy", Boolean(value));
    }

    /**
     * Generates drafts and resolves with them; if a generation is under way, resolves with its
     * drafts. `prompt`, `drafts` and `seed` default to the text box and the attributes.
     */
    generate({ prompt, drafts, seed } = {}) {
      if (!this.isConnected) return Promise.reject(new Error("<tweet-bot> is not on a page"));
      this.#want();
      if (!this.#link) return Promise.reject(new Error(this.#problem?.message));
      if (this.#run) return this.#run.promise;
      const start = this.#part("start");
      if (prompt !== undefined) start.value = prompt;
      const asked = Number(drafts ?? this.getAttribute("drafts") ?? DRAFTS);
      const count = Math.min(Math.max(Math.trunc(asked) || DRAFTS, 1), MOST_DRAFTS);
      const run = { id: ++this.#lastId, options: { drafts, seed } };
      run.promise = new Promise((resolve, reject) => Object.assign(run, { resolve, reject }));
      // The caller may only listen to events: no unhandled rejection.
      run.promise.catch(() => {});
      this.#run = run;
      this.#problem = null;
      this.#again = null;
      this.#speed = null;
      this.#texts = Array.from({ length: count }, () => start.value.trim());
      this.#showDrafts();
      const given = seed ?? this.getAttribute("seed");
      this.#link.ask({ ask: "generate", id: run.id, prompt: start.value, drafts: count, seed: given === null ? null : String(given) });
      this.#show();
      return run.promise;
    }

    /** Stops the generation under way; what is written stays. */
    stop() {
      if (this.#run) this.#link?.ask({ ask: "stop", id: this.#run.id });
    }

    connectedCallback() {
      if (!this.#root) this.#build();
      this.#relabel();
      this.#watch();
    }

    disconnectedCallback() {
      this.#seen.disconnect();
      this.#leave();
    }

    attributeChangedCallback(name, old, value) {
      if (!this.#root || old === value) return;
      if (name === "prompt") this.#part("start").value = value ?? START;
      if (ENGINE.includes(name)) {
        const wanted = this.#state.tell !== "idle";
        this.#leave();
        this.#bot = null;
        this.#texts = [];
        this.#showDrafts();
        if (wanted && this.isConnected) this.#want();
      }
      if (name === "lazy") this.#watch();
      this.#relabel();
    }

    /** Waits until the element is seen, unless it is lazy or has started its engine. */
    #watch() {
      this.#seen.disconnect();
      if (!this.lazy && this.isConnected && this.#state.tell === "idle") this.#seen.observe(this);
    }

    #build() {
      // Properties set before this script ran would hide the element's own.
      for (const name of [...OPTIONS, "lazy"].filter((name) => Object.hasOwn(this, name))) {
        const value = this[name];
        delete this[name];
        this[name] = value;
      }
      this.#root = this.attachShadow({ mode: "open" });
      this.#root.append(makeBody());
      // A page's policy may forbid styles inside the HTML.
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(STYLE);
      this.#root.adoptedStyleSheets = [sheet];
      const start = this.#part("start");
      start.value = this.getAttribute("prompt") ?? START;
      start.addEventListener("input", () => this.#want());
      for (const type of ["keydown", "keypress", "keyup"]) start.addEventListener(type, keepLetter);
      start.addEventListener("keydown", (event) => {
        // Safari does not mark the Enter that ends a composition, but gives it this code.
        const composes = event.isComposing || event.keyCode === 229;
        if (event.key !== "Enter" || event.shiftKey || composes) return;
        event.preventDefault();
        this.generate();
      });
      const on = (selector, type, act) => this.#root.querySelector(selector).addEventListener(type, act);
      on("form", "submit", (event) => {
        event.preventDefault();
        this.generate();
      });
      on(".stop", "click", () => this.stop());
      on(".retry", "click", () => this.#retry());
    }

    /** Starts the engine, unless it has been started. */
    #want() {
      this.#seen.disconnect();
      this.#link?.check();
      if (this.#link) return;
      const address = this.#address("engine.html");
      if (address === null) {
        const message = `host="${this.getAttribute("host")}" is not an address: it must be that of the folder with engine.html`;
        return this.#failed({ id: null, message, retryable: false, gone: true });
      }
      this.#link = Engine.connect(address, (tell) => this.#hear(tell));
      this.#link.ask({ ask: "load" });
      this.#state = { tell: "loading", phase: "description" };
      this.#show();
    }

    #leave() {
      this.#link?.leave();
      this.#link = null;
      this.#state = { tell: "idle" };
      this.#speed = null;
      this.#problem = null;
      this.#again = null;
      this.#end((run) => run.reject(new Error("the <tweet-bot> was removed, or now shows another bot")));
    }

    #retry() {
      const again = this.#again;
      this.#problem = null;
      if (!this.#link) this.#want();
      else if (this.#state.tell === "failed") this.#link.ask({ ask: "retry" });
      // Its own button is hidden now.
      this.#root.querySelector(".generate").focus();
      if (again) this.generate(again);
      else this.#show();
    }

    #hear(tell) {
      const ours = this.#run !== null && tell.id === this.#run.id;
      switch (tell.tell) {
        case "bot":
          this.#bot = tell;
          this.#introduce();
          this.#tell("bot", { name: tell.name, handles: tell.handles });
          break;
        case "loading":
        case "ready":
          if (this.#problem?.word === "failed") this.#problem = null;
          this.#state = tell;
          break;
        case "waiting":
        case "writing":
          if (ours) this.#run.waits = tell.tell === "waiting";
          break;
        case "draft":
          if (ours) this.#draft(tell);
          return;
        case "done":
          if (ours) {
            // If it was stopped before its turn, nothing was timed.
            this.#speed = tell.tokens_per_s || null;
            const drafts = this.texts;
            this.#end((run) => run.resolve(drafts));
            this.#tell("done", { drafts, seed: tell.seed, tokensPerSecond: tell.tokens_per_s });
          }
          break;
        case "failed":
          if (tell.id === null || ours) this.#failed(tell);
          break;
      }
      this.#show();
    }

    #draft({ index, text, done }) {
      // Stopped before its first token, a draft is its prompt.
      if (text || !done) this.#texts[index] = text;
      const article = this.#root.querySelectorAll("article")[index];
      if (!article) return;
      const shown = article.querySelector(".text");
      shown.textContent = this.#texts[index];
      if (done) {
        article.querySelector(".copy").hidden = false;
        const spoken = document.createElement("span");
        spoken.lang = shown.lang;
        spoken.textContent = shown.textContent;
        this.#speak(`${article.getAttribute("aria-label")}: `, spoken);
      }
      this.#tell("draft", { index, text: this.#texts[index], done });
    }

    #failed({ id, message, retryable, gone }) {
      // The engine's document is gone.
      if (gone) this.#link = null;
      const ended = id === null;
      if (ended) {
        this.#state = { tell: "failed" };
        this.#again = this.#run?.options ?? null;
      }
      this.#problem = { word: ended ? "failed" : "refused", message, retryable: retryable && ended };
      this.#end((run) => run.reject(new Error(message)));
      this.#tell("error", { message, retryable }, false);
    }

    #end(settle) {
      const run = this.#run;
      this.#run = null;
      if (run) {
        // However it ended, what is written can be copied.
        this.#root.querySelectorAll(".copy").forEach((button, index) => (button.hidden &&= !this.#texts[index]));
        settle(run);
      }
      this.#show();
    }

    #tell(type, detail, bubbles = true) {
      this.dispatchEvent(new CustomEvent(type, { detail, bubbles }));
    }

    /**
     * The URL of a document on the engine's site, with the attributes `names`; null if `host` is not
     * an address.
     */
    #address(file, names = ENGINE) {
      const host = this.getAttribute("host");
      const folder = host === null ? home() : whole(host.replace(/\/?$/, "/"), null);
      if (folder === null) return null;
      const address = new URL(file, folder);
      for (const name of names) {
        const value = this.getAttribute(name);
        // Only the prompt may be empty.
        if (name === "host" || (name === "prompt" ? value === null : !value)) continue;
        address.searchParams.set(name, name === "model" ? whole(value) : value);
      }
      return address.href;
    }

    #part(name) {
      return this.#root.querySelector(`[part="${name}"]`);
    }

    #showDrafts() {
      const list = this.#part("drafts");
      list.hidden = this.#texts.length === 0;
      list.replaceChildren(
        ...this.#texts.map((text, index) => {
          const item = make("li", {}, makeDraft());
          item.querySelector(".text").textContent = text;
          item.querySelector(".copy").addEventListener("click", () => this.#copy(index));
          return item;
        }),
      );
      this.#root.querySelector(".spoken").replaceChildren();
      this.#labelDrafts();
    }

    #labelDrafts() {
      this.#root.querySelectorAll("article").forEach((article, index) => {
        article.setAttribute("aria-label", `${this.#words.draft} ${index + 1}`);
        article.querySelector(".text").lang = this.#bot?.language ?? "";
        article.querySelector(".note").textContent = this.#words.note;
        this.#labelCopy(article, "copy");
      });
    }

    #labelCopy(article, word) {
      const button = article.querySelector(".copy");
      button.textContent = this.#words[word];
      button.setAttribute("aria-label", `${this.#words[word]}, ${article.getAttribute("aria-label")}`);
    }

    /** Copies a draft; if that is refused, selects it for a keystroke to copy. */
    async #copy(index) {
      const article = this.#root.querySelectorAll("article")[index];
      const copied = await navigator.clipboard?.writeText(this.#texts[index]).then(() => true, () => false);
      if (!copied) getSelection().selectAllChildren(article.querySelector(".text"));
      const answer = copied ? "copied" : "uncopied";
      this.#labelCopy(article, answer);
      this.#speak(this.#words[answer]);
      setTimeout(() => this.#labelCopy(article, "copy"), ANSWER_MS);
    }

    /** Appends a paragraph each time, so that drafts that end together are all announced. */
    #speak(...words) {
      const paragraph = document.createElement("p");
      paragraph.append(...words);
      this.#root.querySelector(".spoken").append(paragraph);
    }

    #introduce() {
      const { name, handles, notice } = this.#bot ?? { name: this.#words.bot, handles: [] };
      this.#part("name").textContent = name;
      this.#part("label").textContent = this.#words[handles.length > 1 ? "cyborg" : "label"];
      this.#part("avatar").textContent = this.#bot ? ([...name].find((c) => /\p{L}|\p{N}/u.test(c)) ?? "?").toUpperCase() : "🤖";
      for (const [part, text] of [["handles", handles.map((handle) => `@${handle}`).join(" · ")], ["notice", notice]]) {
        this.#part(part).textContent = text ?? "";
        this.#part(part).hidden = !text;
      }
      this.#labelDrafts();
    }

    /** Sets all texts of the interface. */
    #relabel() {
      const preferred = [this.getAttribute("lang"), this.parentElement?.closest("[lang]")?.lang, ...(navigator.languages ?? [])];
      const known = preferred.map((lang) => lang?.toLowerCase().split("-")[0]).find((lang) => lang in WORDS);
      this.#language = known ?? "en";
      this.#words = WORDS[this.#language];
      this.#root.querySelector("section").lang = this.#language;
      const label = (selector, word) => (this.#root.querySelector(selector).textContent = this.#words[word]);
      label("label span", "start");
      label(".generate", "generate");
      label(".stop", "stop");
      label(".retry", "retry");
      label(".colophon a", "more");
      // A host may be a package's folder, which may lack PAGE.
      const more = this.#address(this.hasAttribute("host") ? "embed.html" : PAGE, [...OPTIONS, "lang"]);
      if (more !== null) this.#root.querySelector(".colophon a").href = more;
      // Hidden on the very page that it leads to.
      this.#part("colophon").hidden = more === null || more.split("?")[0] === location.href.split(/[?#]/)[0];
      this.#part("drafts").setAttribute("aria-label", this.#words.drafts);
      this.#part("progress").setAttribute("aria-label", this.#words.download);
      this.#introduce();
      this.#show();
    }

    /** Updates buttons, status, progress and error. */
    #show() {
      const [generate, stop] = [this.#root.querySelector(".generate"), this.#root.querySelector(".stop")];
      const busy = this.#run !== null;
      const focused = [generate, stop].includes(this.#root.activeElement);
      generate.hidden = busy;
      stop.hidden = !busy;
      // The focus stays on the visible button.
      if (focused) (busy ? stop : generate).focus();
      this.#part("drafts").setAttribute("aria-busy", String(busy));
      const { loaded_bytes: loaded, total_bytes: total } = this.#state;
      const moves = this.#state.tell === "loading" && Boolean(total);
      this.#part("progress").hidden = !moves;
      if (moves) this.#part("progress").value = loaded / total;
      say(this.#part("status"), this.#status());
      const [heading, english] = this.#part("error").children;
      const { word, message, retryable } = this.#problem ?? {};
      say(heading, this.#words[word] ?? "");
      say(english, message ?? "");
      this.#root.querySelector(".retry").hidden = !retryable;
    }

    #status() {
      const words = this.#words;
      const { tell, phase, total_bytes: total, backend, threads, not_kept: notKept } = this.#state;
      const number = (n, options) => n.toLocaleString(this.#language, { useGrouping: false, ...options });
      if (tell === "idle") return words.idle;
      if (tell === "failed") return "";
      if (tell === "loading") {
        const megabytes = { style: "unit", unit: "megabyte", minimumFractionDigits: 1, maximumFractionDigits: 1 };
        const size = phase === "download" && total ? `, ${number(total / 1e6, megabytes)}` : "";
        return `${words[phase] ?? words.starting}${size}`;
      }
      // Threads are the CPU's.
      const engine =
        backend === "webgpu" ? "WebGPU" : `${backend.toUpperCase()}, ${threads} ${threads === 1 ? words.thread : words.threads}`;
      if (this.#run) return this.#run.waits ? words.turn : `${engine}, ${words.writing}`;
      if (this.#speed !== null) {
        const digits = this.#speed < 10 ? 1 : 0;
        return `${engine}, ${number(this.#speed, { minimumFractionDigits: digits, maximumFractionDigits: digits })} tokens/s`;
      }
      return `${engine}, ${words.ready}${notKept ? `; ${words.notKept.replace("{reason}", words[notKept])}` : ""}`;
    }
  }

  for (const name of OPTIONS) {
    Object.defineProperty(TweetBot.prototype, name, {
      configurable: true,
      enumerable: true,
      get() {
        return this.getAttribute(name);
      },
      set(value) {
        if (value === null || value === undefined) this.removeAttribute(name);
        else this.setAttribute(name, value);
      },
    });
  }

  customElements.define("tweet-bot", TweetBot);
})();
