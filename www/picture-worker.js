// Draws a draft's card as a PNG, twice as large as on the page, with the browser's own fonts: any
// script, any emoji, either direction.
const SCALE = 2;
const WIDTH = 600;
const EDGE = 28;
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif';
const LIGHT = { ground: "#eef2f6", card: "#ffffff", line: "#d3dbe3", text: "#0f1720", soft: "#4d5b69", accent: "#0a5cb8", chip: "#e2eefb" };
const DARK = { ground: "#0b1016", card: "#151c24", line: "#2c3742", text: "#e8eef4", soft: "#a3b1be", accent: "#76b8fb", chip: "#14304c" };

const TEXT_SIZE = 25;
const LINE = 35;
const RIGHT_TO_LEFT = /^[^\p{L}]*[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u;

/** Pieces between which a line may break. */
function pieces(text, language) {
  if (typeof Intl.Segmenter !== "function") return text.split(/(?<=\s)/u);
  return [...new Intl.Segmenter(language, { granularity: "word" }).segment(text)].map(({ segment }) => segment);
}

/** The text in lines no wider than `width`; a wider piece is cut. */
function lines(context, text, width, language) {
  const found = [""];
  const fits = (line) => context.measureText(line.trimEnd()).width <= width;
  for (const piece of pieces(text, language)) {
    const whole = found.at(-1) + piece;
    if (fits(whole)) {
      found[found.length - 1] = whole;
      continue;
    }
    if (found.at(-1).trim() !== "") found.push("");
    for (const letter of piece) {
      if (!fits(found.at(-1) + letter)) found.push("");
      found[found.length - 1] += letter;
    }
  }
  return found;
}

/** As much as fits, with an ellipsis if the text is cut. */
function short(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  const letters = [...text];
  while (letters.length > 0 && context.measureText(`${letters.join("")}…`).width > width) letters.pop();
  return `${letters.join("").trimEnd()}…`;
}

function drawFaces(context, faces, colours) {
  faces.forEach(([initial, hue], index) => {
    const x = EDGE + 54 + index * 34;
    const gradient = context.createLinearGradient(x - 30, 44, x + 30, 104);
    gradient.addColorStop(0, `hsl(${hue} 62% 36%)`);
    gradient.addColorStop(1, `hsl(${hue + 42} 62% 28%)`);
    context.beginPath();
    context.arc(x, EDGE + 54, 31, 0, 2 * Math.PI);
    context.fillStyle = colours.card;
    context.fill();
    context.beginPath();
    context.arc(x, EDGE + 54, 28, 0, 2 * Math.PI);
    context.fillStyle = gradient;
    context.fill();
    context.fillStyle = "#ffffff";
    context.font = `700 26px ${FONT}`;
    context.textAlign = "center";
    context.fillText(initial, x, EDGE + 63);
  });
  return EDGE + 54 + (faces.length - 1) * 34 + 44;
}

async function draw(request) {
  const colours = request.dark ? DARK : LIGHT;
  const inner = WIDTH - 2 * EDGE - 2 * 28;
  const probe = new OffscreenCanvas(1, 1).getContext("2d");
  probe.font = `400 ${TEXT_SIZE}px ${FONT}`;
  const all = lines(probe, request.start + request.added, inner, request.language);
  const height = EDGE + 112 + all.length * LINE + 58 + EDGE;
  const canvas = new OffscreenCanvas(WIDTH * SCALE, height * SCALE);
  const context = canvas.getContext("2d");
  context.scale(SCALE, SCALE);
  context.fillStyle = colours.ground;
  context.fillRect(0, 0, WIDTH, height);
  context.beginPath();
  context.roundRect(EDGE, EDGE, WIDTH - 2 * EDGE, height - 2 * EDGE, 22);
  context.fillStyle = colours.card;
  context.fill();
  context.strokeStyle = colours.line;
  context.stroke();

  const x = drawFaces(context, request.faces, colours);
  context.textAlign = "start";
  context.font = `700 12px ${FONT}`;
  const chip = context.measureText(request.label).width + 18;
  context.font = `750 20px ${FONT}`;
  context.fillStyle = colours.text;
  const name = short(context, request.name, WIDTH - EDGE - 28 - x - chip - 10);
  context.fillText(name, x, EDGE + 49);
  const chipX = x + context.measureText(name).width + 10;
  context.beginPath();
  context.roundRect(chipX, EDGE + 33, chip, 20, 10);
  context.fillStyle = colours.chip;
  context.fill();
  context.fillStyle = colours.accent;
  context.font = `700 12px ${FONT}`;
  context.fillText(request.label, chipX + 9, EDGE + 47.5);
  context.fillStyle = colours.soft;
  context.font = `400 16px ${FONT}`;
  context.fillText(short(context, request.handles, WIDTH - EDGE - 28 - x), x, EDGE + 73);

  const backwards = RIGHT_TO_LEFT.test(request.start + request.added);
  context.direction = backwards ? "rtl" : "ltr";
  context.font = `400 ${TEXT_SIZE}px ${FONT}`;
  const edge = backwards ? WIDTH - EDGE - 28 : EDGE + 28;
  let start = request.start.length;
  let y = EDGE + 112 + TEXT_SIZE;
  for (const line of all) {
    // The prompt is paler, as on the page; a line with both is drawn in two parts.
    const soft = line.slice(0, Math.max(0, start));
    start -= line.length;
    context.fillStyle = colours.soft;
    context.fillText(soft, edge, y);
    const offset = context.measureText(soft).width;
    context.fillStyle = colours.text;
    context.fillText(line.slice(soft.length), backwards ? edge - offset : edge + offset, y);
    y += LINE;
  }

  context.direction = "ltr";
  context.fillStyle = colours.accent;
  context.beginPath();
  context.arc(EDGE + 33, y + 10, 4, 0, 2 * Math.PI);
  context.fill();
  context.fillStyle = colours.soft;
  context.font = `400 15px ${FONT}`;
  context.fillText(`${request.note} · huggingtweets`, EDGE + 46, y + 15);
  return canvas.convertToBlob({ type: "image/png" });
}

self.onmessage = async ({ data }) => {
  try {
    self.postMessage(await draw(JSON.parse(data)));
  } catch {
    // A browser without OffscreenCanvas.
    self.postMessage(null);
  }
};
