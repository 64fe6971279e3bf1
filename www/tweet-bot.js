// <tweet-bot model="https://…/bot/" prompt="My dream is"></tweet-bot>
//
// A bot on any page, as a module or a classic script. The element draws itself
// in its shadow root; the engine runs in a hidden document of the site that the
// script came from (engine.html), because no page may start another origin's
// worker. Elements with the same bot share one. Until an element is seen (with
// the attribute `lazy`: until it is used) nothing at all is fetched.
(() => {
  if (!globalThis.customElements || customElements.get("tweet-bot")) return;

  /** Attributes that decide which engine an element needs. */
  const ENGINE = ["model", "precision", "backend", "threads", "host"];
  /** All that are properties, too. */
  const OPTIONS = [...ENGINE, "prompt", "drafts", "seed", "theme"];
  /** The page that a bot has to itself, beside engine.html; tools/npm.sh names another, for a package has none. */
  const PAGE = "";
  const OPEN = "huggingtweets:open";
  const HERE = "huggingtweets:here";
  const FAILED = "huggingtweets:failed ";
  /** From the load of the engine's document to its first word. */
  const SILENT_MS = 60_000;
  /** An element that only moves in its page keeps its engine. */
  const LINGER_MS = 2000;
  /** How long a button says what it did. */
  const ANSWER_MS = 2000;
  const START = "My dream is";
  const DRAFTS = 5;
  const MOST_DRAFTS = 16;

  // import.meta would be an error in a classic script, and currentScript is
  // null in a module.
  const own = (() => {
    if (document.currentScript?.src) return document.currentScript.src;
    const called = /(https?:\/\/[^\s()]*\/tweet-bot\.js[^\s():]*)/.exec(new Error().stack ?? "");
    if (called) return called[1];
    return document.querySelector('script[src*="tweet-bot.js"]')?.src ?? null;
  })();

  /** The folder with engine.html; in a bundle, where the package's copy command puts it. */
  const home = () => new URL("./", own ?? new URL("tweet-bot/", document.baseURI)).href;

  // Phases and reasons are named as the engine names them.
  const WORDS = {
    en: {
      bot: "A bot", label: "AI BOT", cyborg: "AI CYBORG", note: "AI-generated parody", more: "Open on its own page", start: "Start of the tweet",
      generate: "Generate tweets", stop: "Stop", retry: "Retry", drafts: "Drafts", draft: "Draft", copy: "Copy", copied: "Copied",
      uncopied: "Press Ctrl+C", idle: "Writes on your own device", starting: "Starting the engine", waiting: "Another tab is downloading this bot",
      download: "Downloading the bot", cache: "Reading the bot from this device", check: "Checking the engine", ready: "ready",
      writing: "writing", turn: "Waiting for another bot on this page", thread: "thread", threads: "threads", failed: "The engine is not running",
      refused: "The drafts cannot be written so.", notKept: "the bot was not kept on this device: {reason}",
      full: "its storage is full", no_storage: "this browser gives the page no storage", undescribed: "no bot.json describes it",
    },
    es: {
      bot: "Un bot", label: "BOT DE IA", cyborg: "CÍBORG DE IA", note: "Parodia generada por IA", more: "Abrir en su propia página", start: "Comienzo del tuit",
      generate: "Generar tuits", stop: "Parar", retry: "Reintentar", drafts: "Borradores", draft: "Borrador", copy: "Copiar", copied: "Copiado",
      uncopied: "Pulsa Ctrl+C", idle: "Escribe en tu propio dispositivo", starting: "Arrancando el motor", waiting: "Otra pestaña está descargando este bot",
      download: "Descargando el bot", cache: "Leyendo el bot de este dispositivo", check: "Comprobando el motor", ready: "listo",
      writing: "escribiendo", turn: "Esperando a otro bot de esta página", thread: "hilo", threads: "hilos", failed: "El motor no está en marcha",
      refused: "Los borradores no pueden escribirse así.", notKept: "el bot no se guardó en este dispositivo: {reason}",
      full: "su almacenamiento está lleno", no_storage: "este navegador no da almacenamiento a la página", undescribed: "ningún bot.json lo describe",
    },
    fr: {
      bot: "Un bot", label: "BOT IA", cyborg: "CYBORG IA", note: "Parodie générée par IA", more: "Ouvrir sur sa propre page", start: "Début du tweet",
      generate: "Générer des tweets", stop: "Arrêter", retry: "Réessayer", drafts: "Brouillons", draft: "Brouillon", copy: "Copier", copied: "Copié",
      uncopied: "Appuyez sur Ctrl+C", idle: "Écrit sur votre appareil", starting: "Démarrage du moteur", waiting: "Un autre onglet télécharge ce bot",
      download: "Téléchargement du bot", cache: "Lecture du bot sur cet appareil", check: "Vérification du moteur", ready: "prêt",
      writing: "écriture en cours", turn: "En attente d’un autre bot de cette page", thread: "thread", threads: "threads", failed: "Le moteur ne tourne pas",
      refused: "Les brouillons ne peuvent pas être écrits ainsi.", notKept: "le bot n’a pas été gardé sur cet appareil : {reason}",
      full: "son stockage est plein", no_storage: "ce navigateur ne donne pas de stockage à la page", undescribed: "aucun bot.json ne le décrit",
    },
    de: {
      bot: "Ein Bot", label: "KI-BOT", cyborg: "KI-CYBORG", note: "Von KI erzeugte Parodie", more: "Auf eigener Seite öffnen", start: "Anfang des Tweets",
      generate: "Tweets erzeugen", stop: "Stopp", retry: "Noch einmal", drafts: "Entwürfe", draft: "Entwurf", copy: "Kopieren", copied: "Kopiert",
      uncopied: "Strg+C drücken", idle: "Schreibt auf deinem Gerät", starting: "Die Engine startet", waiting: "Ein anderer Tab lädt diesen Bot gerade herunter",
      download: "Der Bot wird heruntergeladen", cache: "Der Bot wird von diesem Gerät gelesen", check: "Die Engine wird geprüft", ready: "bereit",
      writing: "schreibt", turn: "Wartet auf einen anderen Bot dieser Seite", thread: "Thread", threads: "Threads", failed: "Die Engine läuft nicht",
      refused: "So können die Entwürfe nicht geschrieben werden.", notKept: "der Bot wurde auf diesem Gerät nicht aufbewahrt: {reason}",
      full: "sein Speicher ist voll", no_storage: "dieser Browser gibt der Seite keinen Speicher", undescribed: "keine bot.json beschreibt ihn",
    },
    pt: {
      bot: "Um bot", label: "BOT DE IA", cyborg: "CIBORGUE DE IA", note: "Paródia gerada por IA", more: "Abrir na própria página", start: "Começo do tuíte",
      generate: "Gerar tuítes", stop: "Parar", retry: "Tentar de novo", drafts: "Rascunhos", draft: "Rascunho", copy: "Copiar", copied: "Copiado",
      uncopied: "Pressione Ctrl+C", idle: "Escreve no seu próprio aparelho", starting: "Iniciando o motor", waiting: "Outra aba está baixando este bot",
      download: "Baixando o bot", cache: "Lendo o bot deste aparelho", check: "Verificando o motor", ready: "pronto",
      writing: "escrevendo", turn: "À espera de outro bot desta página", thread: "thread", threads: "threads", failed: "O motor não está rodando",
      refused: "Os rascunhos não podem ser escritos assim.", notKept: "o bot não foi guardado neste aparelho: {reason}",
      full: "o armazenamento está cheio", no_storage: "este navegador não dá armazenamento à página", undescribed: "nenhum bot.json o descreve",
    },
    ja: {
      bot: "ボット", label: "AI ボット", cyborg: "AI サイボーグ", note: "AI が生成したパロディ", more: "専用ページで開く", start: "ツイートの書き出し",
      generate: "ツイートを生成", stop: "停止", retry: "再試行", drafts: "下書き", draft: "下書き", copy: "コピー", copied: "コピーしました",
      uncopied: "Ctrl+C を押してください", idle: "この端末の中で書きます", starting: "エンジンを起動しています", waiting: "別のタブがこのボットをダウンロードしています",
      download: "ボットをダウンロードしています", cache: "この端末からボットを読み込んでいます", check: "エンジンを確認しています", ready: "準備完了",
      writing: "執筆中", turn: "このページの別のボットを待っています", thread: "スレッド", threads: "スレッド", failed: "エンジンは停止しています",
      refused: "この条件では下書きを書けません。", notKept: "ボットはこの端末に保存されませんでした：{reason}",
      full: "端末の空き容量がありません", no_storage: "このブラウザはページに保存領域を与えません", undescribed: "bot.json に記載がありません",
    },
  };

  const STYLE = `
    :host { display: block; max-width: var(--tweet-bot-max-width, 40rem); color-scheme: light dark;
      --accent: var(--tweet-bot-accent, light-dark(#0b62b8, #7cc0ff));
      --on-accent: var(--tweet-bot-on-accent, light-dark(#fff, #0b1117));
      --ground: var(--tweet-bot-background, light-dark(#fff, #12181f));
      --ink: var(--tweet-bot-color, light-dark(#14181d, #e8edf2));
      --faint: var(--tweet-bot-muted, light-dark(#4c5966, #a5b1bd));
      --line: var(--tweet-bot-border, light-dark(#d4dbe2, #2d3843));
      --alarm: light-dark(#b3261e, #ffb4ab);
      --round: var(--tweet-bot-radius, 16px); }
    :host([hidden]), [hidden] { display: none !important; }
    :host([theme="light"]) { color-scheme: light; }
    :host([theme="dark"]) { color-scheme: dark; }
    * { box-sizing: border-box; margin: 0; }
    section { background: var(--ground); color: var(--ink); border: 1px solid var(--line); border-radius: var(--round);
      padding: 1rem; font: 1rem/1.45 var(--tweet-bot-font, system-ui, sans-serif); overflow-wrap: anywhere; }
    header { display: flex; gap: .75rem; align-items: center; margin-bottom: .75rem; }
    .avatar { flex: none; width: 3rem; height: 3rem; border-radius: 50%; display: grid; place-items: center;
      background: var(--accent); color: var(--on-accent); font-weight: 700; font-size: 1.25rem; }
    .name { font-size: 1.1rem; line-height: 1.25; }
    .chip { font-size: .75rem; font-weight: 600; border: 1px solid currentColor; border-radius: 1rem; padding: 0 .5em; margin-inline-start: .5em; color: var(--faint); }
    .handles, .notice, .note, .colophon { color: var(--faint); font-size: .875rem; }
    label { display: block; font-weight: 600; font-size: .875rem; }
    textarea { display: block; width: 100%; margin: .25rem 0 .75rem; padding: .5rem .75rem; font: inherit; font-weight: 400; color: inherit;
      background: transparent; border: 1px solid var(--faint); border-radius: calc(var(--round) / 2); resize: vertical; }
    button { font: inherit; font-weight: 600; min-height: 2.75rem; padding: 0 1.25rem; border-radius: 1.5rem; border: 1px solid var(--accent);
      background: var(--accent); color: var(--on-accent); cursor: pointer; }
    button.quiet { background: transparent; color: var(--accent); min-height: 2rem; padding: 0 .9rem; font-size: .875rem; }
    :focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
    .status { color: var(--faint); font-size: .875rem; margin-top: .6rem; }
    progress { width: 100%; accent-color: var(--accent); }
    .alarm { color: var(--alarm); margin-top: .6rem; }
    ol { list-style: none; padding: 0; display: grid; gap: .6rem; margin-top: .75rem; }
    article { border: 1px solid var(--line); border-radius: calc(var(--round) * .75); padding: .75rem; }
    .text { min-height: 1.45em; white-space: pre-wrap; }
    .foot { display: flex; justify-content: space-between; align-items: center; gap: .5rem; margin-top: .4rem; flex-wrap: wrap; }
    a { color: var(--accent); }
    .colophon { margin-top: .75rem; }
    .spoken { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
  `;

  const BODY = `
    <section part="card">
      <header part="header">
        <span class="avatar" part="avatar" aria-hidden="true">🤖</span>
        <div><p><strong class="name" part="name" role="heading" aria-level="2" dir="auto"></strong><span class="chip" part="label"></span></p>
        <p class="handles" part="handles" hidden></p><p class="notice" part="notice" lang="" dir="auto" hidden></p></div>
      </header>
      <form part="composer">
        <label part="start-label"><span></span><textarea part="start" rows="2" dir="auto" maxlength="2000"></textarea></label>
        <button part="button generate" type="submit" class="generate"></button>
        <button part="button stop" type="button" class="stop" hidden></button>
      </form>
      <p class="status" part="status" role="status"></p>
      <progress part="progress" max="1" hidden></progress>
      <div class="alarm" part="error" role="alert"><p></p><p lang="en"></p></div>
      <button part="button retry" type="button" class="retry quiet" hidden></button>
      <ol part="drafts" role="list" hidden></ol>
      <div class="spoken" aria-live="polite"></div>
      <p class="colophon" part="colophon"><a target="_blank" rel="noopener"></a></p>
    </section>`;

  const DRAFT = `
    <article part="draft">
      <p class="text" part="draft-text" data-testid="draft-text" dir="auto"></p>
      <div class="foot"><span class="note" part="note"></span><button type="button" part="button copy" class="copy quiet" hidden></button></div>
    </article>`;

  /** What is in a live region and stays is not written, for it would be spoken again. */
  function say(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  /** One engine, in a hidden document; elements speak to it over ports. */
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

  class TweetBot extends HTMLElement {
    static observedAttributes = [...OPTIONS, "lang"];

    #root = null;
    #words = WORDS.en;
    #link = null;
    #state = { tell: "idle" };
    #speed = null;
    #bot = null;
    /** The generation under way: { id, options, promise, resolve, reject }. */
    #run = null;
    #lastId = 0;
    #texts = [];
    /** What went wrong: { word, message, retryable }; the message is the engine's, in English. */
    #problem = null;
    /** The options of a generation that a failure took along: Retry begins it again. */
    #again = null;
    #seen = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) this.#want();
    });

    /** The drafts as they are now. */
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
     * Writes drafts and resolves with them; while some are being written, with
     * those. `prompt`, `drafts` and `seed` default to the text box and the attributes.
     */
    generate({ prompt, drafts, seed } = {}) {
      if (this.#run) return this.#run.promise;
      if (!this.isConnected) return Promise.reject(new Error("<tweet-bot> is not on a page"));
      this.#want();
      const start = this.#part("start");
      if (prompt !== undefined) start.value = prompt;
      const asked = Number(drafts ?? this.getAttribute("drafts") ?? DRAFTS);
      const count = Math.min(Math.max(Math.trunc(asked) || DRAFTS, 1), MOST_DRAFTS);
      const run = { id: ++this.#lastId, options: { drafts, seed } };
      run.promise = new Promise((resolve, reject) => Object.assign(run, { resolve, reject }));
      // Whoever called listens to the events instead, if to anything.
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

    /** Ends the generation under way; what is written stays. */
    stop() {
      if (this.#run) this.#link?.ask({ ask: "stop", id: this.#run.id });
    }

    connectedCallback() {
      if (!this.#root) this.#build();
      this.#relabel();
      if (!this.lazy) this.#seen.observe(this);
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
      this.#relabel();
    }

    #build() {
      // Properties set before this script came would hide the element's own.
      for (const name of [...OPTIONS, "lazy"].filter((name) => Object.hasOwn(this, name))) {
        const value = this[name];
        delete this[name];
        this[name] = value;
      }
      this.#root = this.attachShadow({ mode: "open" });
      this.#root.innerHTML = BODY;
      // A page's policy may forbid styles inside the HTML.
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(STYLE);
      this.#root.adoptedStyleSheets = [sheet];
      const start = this.#part("start");
      start.value = this.getAttribute("prompt") ?? START;
      start.addEventListener("input", () => this.#want());
      start.addEventListener("keydown", (event) => {
        // Safari's Enter that ends a composition is no part of it any more, but has this code.
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

    /** The engine is wanted: now, if it was not before. */
    #want() {
      this.#seen.disconnect();
      if (this.#link) return;
      this.#link = Engine.connect(this.#address("engine.html"), (tell) => this.#hear(tell));
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
      this.#end((run) => run.reject(new Error("the bot left the page")));
    }

    #retry() {
      const again = this.#again;
      this.#problem = null;
      if (!this.#link) this.#want();
      else if (this.#state.tell === "failed") this.#link.ask({ ask: "retry" });
      // Its own button is gone now.
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
            // Stopped before its turn, nothing was timed.
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
      // Stopped before its first token, a draft is its start.
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
        this.#speak(`${article.ariaLabel}: `, spoken);
      }
      this.#tell("draft", { index, text: this.#texts[index], done });
    }

    #failed({ id, message, retryable, gone }) {
      // There is no document to ask again.
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
      if (run) settle(run);
      this.#show();
    }

    #tell(type, detail, bubbles = true) {
      this.dispatchEvent(new CustomEvent(type, { detail, bubbles }));
    }

    /** The address of a document of the engine's site, with the attributes `names`. */
    #address(file, names = ENGINE) {
      const host = this.getAttribute("host");
      const address = new URL(file, host === null ? home() : new URL(host.replace(/\/?$/, "/"), document.baseURI));
      for (const name of names) {
        const value = this.getAttribute(name);
        // Only a start may be empty.
        if (name === "host" || (name === "prompt" ? value === null : !value)) continue;
        // An address is relative to the page it is written on; what is none, the engine names.
        const isAddress = name === "model" && URL.canParse(value, document.baseURI);
        address.searchParams.set(name, isAddress ? new URL(value, document.baseURI).href : value);
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
          const item = document.createElement("li");
          item.innerHTML = DRAFT;
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
        article.ariaLabel = `${this.#words.draft} ${index + 1}`;
        article.querySelector(".text").lang = this.#bot?.language ?? "";
        article.querySelector(".note").textContent = this.#words.note;
        this.#labelCopy(article, "copy");
      });
    }

    #labelCopy(article, word) {
      const button = article.querySelector(".copy");
      button.textContent = this.#words[word];
      button.ariaLabel = `${this.#words[word]}, ${article.ariaLabel}`;
    }

    /** What cannot be copied is marked, for a keystroke to copy it. */
    async #copy(index) {
      const article = this.#root.querySelectorAll("article")[index];
      const copied = await navigator.clipboard?.writeText(this.#texts[index]).then(() => true, () => false);
      if (!copied) getSelection().selectAllChildren(article.querySelector(".text"));
      const answer = copied ? "copied" : "uncopied";
      this.#labelCopy(article, answer);
      this.#speak(this.#words[answer]);
      setTimeout(() => this.#labelCopy(article, "copy"), ANSWER_MS);
    }

    /** Each time a paragraph: drafts that end together are all heard. */
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

    /** Everything that is in words. */
    #relabel() {
      const wished = [this.getAttribute("lang"), this.parentElement?.closest("[lang]")?.lang, ...(navigator.languages ?? [])];
      const known = wished.map((lang) => lang?.toLowerCase().split("-")[0]).find((lang) => lang in WORDS);
      this.#words = WORDS[known ?? "en"];
      this.#root.querySelector("section").lang = known ?? "en";
      const label = (selector, word) => (this.#root.querySelector(selector).textContent = this.#words[word]);
      label("label span", "start");
      label(".generate", "generate");
      label(".stop", "stop");
      label(".retry", "retry");
      label(".colophon a", "more");
      const more = this.#root.querySelector(".colophon a");
      // A host may be a package's folder, where PAGE may be missing.
      more.href = this.#address(this.hasAttribute("host") ? "embed.html" : PAGE, [...OPTIONS, "lang"]);
      // On the very page it would lead to, it is of no use.
      this.#part("colophon").hidden = more.href.split("?")[0] === location.href.split(/[?#]/)[0];
      this.#part("drafts").setAttribute("aria-label", this.#words.drafts);
      this.#part("progress").setAttribute("aria-label", this.#words.download);
      this.#introduce();
      this.#show();
    }

    /** Buttons, status, progress and what went wrong. */
    #show() {
      const [generate, stop] = [this.#root.querySelector(".generate"), this.#root.querySelector(".stop")];
      const busy = this.#run !== null;
      const focused = [generate, stop].includes(this.#root.activeElement);
      generate.hidden = busy;
      stop.hidden = !busy;
      // Focus stays where the hand is.
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
      if (tell === "idle") return words.idle;
      if (tell === "failed") return "";
      if (tell === "loading") {
        const size = phase === "download" && total ? `, ${(total / 1e6).toFixed(1)} MB` : "";
        return `${words[phase] ?? words.starting}${size}`;
      }
      const engine = `${backend.toUpperCase()}, ${threads} ${threads === 1 ? words.thread : words.threads}`;
      if (this.#run) return this.#run.waits ? words.turn : `${engine}, ${words.writing}`;
      if (this.#speed !== null) return `${engine}, ${this.#speed.toFixed(this.#speed < 10 ? 1 : 0)} tokens/s`;
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
