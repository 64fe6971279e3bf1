// <tweet-bot model="https://…/bot/" prompt="My dream is"></tweet-bot>
//
// A bot on any page, as a module or a classic script. A worker of another
// origin cannot be started, so the element holds an iframe of the origin this
// script came from; nothing of the page around it is read or changed.
(() => {
  // Attributes that travel to the widget as parameters of its address.
  const PARAMETERS = ["model", "precision", "prompt", "seed", "backend", "threads"];
  const START_HEIGHT = 720;

  // import.meta would be an error in a classic script, and currentScript is
  // null in a module.
  const own = (() => {
    if (document.currentScript?.src) return document.currentScript.src;
    const called = /(https?:\/\/[^\s()]*\/tweet-bot\.js[^\s():]*)/.exec(new Error().stack ?? "");
    if (called) return called[1];
    return document.querySelector('script[src*="tweet-bot.js"]')?.src ?? document.baseURI;
  })();

  class TweetBot extends HTMLElement {
    static observedAttributes = PARAMETERS;

    #frame = null;
    #resize = (event) => {
      const { type, height } = event.data ?? {};
      const ours = this.#frame !== null && event.source === this.#frame.contentWindow;
      if (ours && type === "huggingtweets:resize" && Number.isFinite(height)) {
        this.#frame.style.height = `${Math.min(Math.max(height, 100), 10000)}px`;
      }
    };

    connectedCallback() {
      if (!this.#frame) {
        this.#frame = document.createElement("iframe");
        this.#frame.title = this.getAttribute("title") ?? "Tweet bot";
        this.#frame.allow = "clipboard-write";
        this.#frame.style.cssText =
          `display:block;width:100%;height:${START_HEIGHT}px;border:0;border-radius:16px;color-scheme:light dark`;
        const style = document.createElement("style");
        style.textContent = ":host{display:block;max-width:40rem}:host([hidden]){display:none}";
        this.attachShadow({ mode: "open" }).append(style, this.#frame);
      }
      this.#frame.src = this.#address();
      window.addEventListener("message", this.#resize);
    }

    disconnectedCallback() {
      window.removeEventListener("message", this.#resize);
    }

    attributeChangedCallback() {
      if (this.isConnected && this.#frame) this.#frame.src = this.#address();
    }

    #address() {
      const address = new URL("./embed.html", own);
      for (const name of PARAMETERS) {
        const value = this.getAttribute(name);
        if (value === null) continue;
        // An address is relative to the page it is written on.
        address.searchParams.set(name, name === "model" ? new URL(value, document.baseURI).href : value);
      }
      return address.href;
    }
  }

  if (!customElements.get("tweet-bot")) customElements.define("tweet-bot", TweetBot);
})();
