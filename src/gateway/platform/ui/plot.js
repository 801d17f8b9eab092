// A plot of the last minutes: lines in SVG, everything that is read in HTML, so that it keeps its size.

import { SPAN, runs } from "./history.js";
import { el, set } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [300, 100];

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// The next of 1, 2, 5, 10, 20, … above.
function above(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((step) => step * power >= value * 1.0001) * power;
}

function drawn(list, lines, most, now) {
  return lines.flatMap(({ figure }, at) => runs(list, figure).map((run) => {
    const points = run.map(([then, value]) => {
      const x = WIDTH - ((now - then) / SPAN) * WIDTH;
      return `${x.toFixed(1)},${(HEIGHT - (value / most) * HEIGHT).toFixed(1)}`;
    });
    // A lone point is a short line, or it would not be seen.
    if (points.length === 1) points.push(points[0].replace(/^[^,]+/, (x) => (Number(x) + 2).toFixed(1)));
    return shape("polyline", { class: `line${at}`, points: points.join(" ") });
  }));
}

// `lines` are `{name, figure}`; `words` writes a value with its unit; `most` is the upper end where that is fixed,
// `least` where it follows the values.
export function plot(title, lines, words, { most = 0, least = 1 } = {}) {
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  const top = el("span.top");
  const middle = el("span.middle");
  const values = lines.map(() => el("b"));
  const legend = lines.map(({ name }, at) => el("span.legend", {}, el(`span.key.line${at}`), name ? `${name} ` : "", values[at]));
  const note = el("p.empty", {}, "Empty so far: it is drawn while this page is open.");
  const box = el("figure.plot", {},
    el("figcaption", {}, el("span.title", {}, title), ...legend),
    el("div.area", {}, el("div.y", { "aria-hidden": "true" }, top, middle, el("span.bottom", {}, words(0))), svg, note),
    el("div.x", { "aria-hidden": "true" }, el("span", {}, "5 min ago"), el("span", {}, "2.5 min"), el("span", {}, "now")));
  const update = (list) => {
    const now = Date.now();
    const shown = list.filter((one) => now - one.at <= SPAN);
    const all = shown.flatMap((one) => lines.map(({ figure }) => one[figure])).filter((value) => value !== null);
    const upper = most || above(Math.max(least * 0.99, ...all));
    const grid = [0, 50, 100].map((y) => shape("line", { class: "grid", x1: 0, x2: WIDTH, y1: y, y2: y }));
    svg.replaceChildren(...grid, ...drawn(shown, lines, upper, now));
    set(top, words(upper));
    set(middle, words(upper / 2));
    const last = list.at(-1);
    lines.forEach(({ figure }, at) => set(values[at], last && last[figure] !== null ? words(last[figure]) : "–"));
    note.hidden = all.length > 1;
    const said = lines.map(({ name }, at) => `${name || title} ${values[at].textContent}`).join(", ");
    svg.setAttribute("aria-label", `${title}, last 5 minutes: now ${said}; scale up to ${words(upper)}`);
  };
  return { box, update };
}

// A line without axes beside a value that stands as text.
export function spark(lines) {
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "spark", "aria-hidden": "true" });
  const update = (list) => {
    const now = Date.now();
    const shown = list.filter((one) => now - one.at <= SPAN);
    const all = shown.flatMap((one) => lines.map(({ figure }) => one[figure] || 0));
    const floor = shape("line", { class: "grid", x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT });
    svg.replaceChildren(floor, ...drawn(shown, lines, above(Math.max(1000, ...all)), now));
  };
  return { box: svg, update };
}
