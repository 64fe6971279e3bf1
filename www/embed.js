// The widget alone, for an iframe; the URL parameters are the element's attributes.
const OPTIONS = ["model", "precision", "prompt", "drafts", "seed", "theme", "lang", "lazy", "backend", "threads"];

const bot = document.createElement("tweet-bot");
for (const [name, value] of new URLSearchParams(location.search)) {
  if (OPTIONS.includes(name) && !(name === "lazy" && ["false", "0"].includes(value))) bot.setAttribute(name, value);
}
const { lang, theme } = Object.fromEntries(["lang", "theme"].map((name) => [name, bot.getAttribute(name)]));
document.documentElement.lang = lang || navigator.language;
if (["light", "dark"].includes(theme)) document.documentElement.style.colorScheme = theme;
bot.addEventListener("bot", ({ detail }) => (document.title = detail.name));
document.querySelector("main").append(bot);

// Reports the document's height to the embedding page, so that the frame needs no scroll bar.
if (window.parent !== window) {
  const tell = () => {
    const height = Math.ceil(document.documentElement.getBoundingClientRect().height);
    window.parent.postMessage({ type: "huggingtweets:resize", height }, "*");
  };
  new ResizeObserver(tell).observe(document.documentElement);
}
