// The widget's styles and elements; part of www/tweet-bot.js.

/**
 * A colour for the light scheme and one for the dark, by light-dark() where browsers support it
 * (2024). Elsewhere one of --light and --dark is empty and the other unset, so that its fallback
 * applies.
 */
const shade = CSS.supports("color", "light-dark(red, red)")
  ? (light, dark) => `light-dark(${light}, ${dark})`
  : (light, dark) => `var(--light, ${light}) var(--dark, ${dark})`;

const STYLE = `
  :host { display: block; max-width: var(--tweet-bot-max-width, 40rem); color-scheme: light dark;
    --accent: var(--tweet-bot-accent, ${shade("#0b62b8", "#7cc0ff")});
    --on-accent: var(--tweet-bot-on-accent, ${shade("#fff", "#0b1117")});
    --ground: var(--tweet-bot-background, ${shade("#fff", "#12181f")});
    --ink: var(--tweet-bot-color, ${shade("#14181d", "#e8edf2")});
    --faint: var(--tweet-bot-muted, ${shade("#4c5966", "#a5b1bd")});
    --line: var(--tweet-bot-border, ${shade("#d4dbe2", "#2d3843")});
    --alarm: ${shade("#b3261e", "#ffb4ab")};
    --round: var(--tweet-bot-radius, 16px); --light: initial; --dark: ; }
  @media (prefers-color-scheme: dark) { :host { --light: ; --dark: initial; } }
  :host([hidden]), [hidden] { display: none !important; }
  :host([theme="light"]) { color-scheme: light; --light: initial; --dark: ; }
  :host([theme="dark"]) { color-scheme: dark; --light: ; --dark: initial; }
  * { box-sizing: border-box; margin: 0; }
  section { background: var(--ground); color: var(--ink); border: 1px solid var(--line); border-radius: var(--round);
    padding: 1rem; font: 1rem/1.45 var(--tweet-bot-font, system-ui, sans-serif); overflow-wrap: anywhere;
    /* Not what a headline or a navigation bar around it would pass on. */
    letter-spacing: normal; word-spacing: normal; word-break: normal; text-align: start; text-indent: 0;
    text-shadow: none; text-transform: none; white-space: normal; }
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

/** Creates an element without HTML, which a page's policy may forbid (Trusted Types). */
function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  element.append(...children);
  return element;
}

const makeBody = () =>
  make("section", { part: "card" },
    make("header", { part: "header" },
      make("span", { class: "avatar", part: "avatar", "aria-hidden": "true" }, "🤖"),
      make("div", {},
        make("p", {},
          make("strong", { class: "name", part: "name", role: "heading", "aria-level": "2", dir: "auto" }),
          make("span", { class: "chip", part: "label" })),
        make("p", { class: "handles", part: "handles", hidden: "" }),
        make("p", { class: "notice", part: "notice", lang: "", dir: "auto", hidden: "" }))),
    make("form", { part: "composer" },
      make("label", { part: "start-label" },
        make("span", {}),
        make("textarea", { part: "start", rows: "2", dir: "auto", maxlength: "2000" })),
      make("button", { part: "button generate", type: "submit", class: "generate" }),
      make("button", { part: "button stop", type: "button", class: "stop", hidden: "" })),
    make("p", { class: "status", part: "status", role: "status" }),
    make("progress", { part: "progress", max: "1", hidden: "" }),
    make("div", { class: "alarm", part: "error", role: "alert" }, make("p", {}), make("p", { lang: "en" })),
    make("button", { part: "button retry", type: "button", class: "retry quiet", hidden: "" }),
    make("ol", { part: "drafts", role: "list", hidden: "" }),
    make("div", { class: "spoken", "aria-live": "polite" }),
    make("p", { class: "colophon", part: "colophon" }, make("a", { target: "_blank", rel: "noopener" })));

const makeDraft = () =>
  make("article", { part: "draft" },
    make("p", { class: "text", part: "draft-text", "data-testid": "draft-text", dir: "auto" }),
    make("div", { class: "foot" },
      make("span", { class: "note", part: "note" }),
      make("button", { type: "button", part: "button copy", class: "copy quiet", hidden: "" })));
