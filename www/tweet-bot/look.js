// How the widget looks, and what it is made of; part of www/tweet-bot.js.

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
