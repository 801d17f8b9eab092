// Elements and words. Text from the gateway is only ever set as text.

// `el("p.note", {title: "…"}, child, …)`: attributes by name, `on…` as listeners; children are nodes or text.
export function el(kind, attributes = {}, ...children) {
  const [name, ...classes] = kind.split(".");
  const made = document.createElement(name);
  if (classes.length) made.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

// Changes text only where it differs, so that a selection and a screen reader are left alone.
export function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
  return node;
}

// A state in words and in colour.
export function pill(text, kind) {
  return el(`span.pill.${kind}`, {}, text);
}

const GOOD = ["connected", "healthy", "succeeded", "allowed", "ready", "unchanged", "created", "configured", "pruned", "deleted"];
const BAD = ["disconnected", "unhealthy", "failed", "timed_out", "refused", "expired"];
const WAITS = ["draining", "degraded", "pending", "sent", "validating", "applying", "rolling_out", "pruning"];

export function kindOf(word) {
  if (GOOD.includes(word)) return "good";
  if (BAD.includes(word)) return "bad";
  return WAITS.includes(word) ? "waits" : "plain";
}

export function state(word) {
  return pill(word.replaceAll("_", " "), kindOf(word));
}

// How long ago, in the largest unit that says something.
export function age(then, now = Date.now()) {
  if (!then) return "never";
  const seconds = Math.max(0, Math.round((now - Date.parse(then)) / 1000));
  if (seconds < 90) return `${seconds} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129_600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86_400)} d ago`;
}

export function when(text) {
  return text ? el("time", { datetime: text, title: text }, new Date(text).toLocaleString()) : "–";
}

export function clock(text) {
  return text ? el("time", { datetime: text, title: text }, new Date(text).toLocaleTimeString()) : "–";
}

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

export function bytes(number) {
  let at = 0;
  for (; number >= 999.5 && at < UNITS.length - 1; at += 1) number /= 1000;
  return `${number >= 100 || at === 0 ? Math.round(number) : number.toFixed(1)} ${UNITS[at]}`;
}

export const rate = (number) => `${bytes(number)}/s`;
export const percent = (share) => `${Math.round(share * 100)} %`;
export const milliseconds = (number) => `${number < 10 ? number.toFixed(1) : Math.round(number)} ms`;
export const count = (number) => (number >= 10_000 ? number.toLocaleString() : String(Math.round(number * 10) / 10));

export function clusterPath(name, more = "") {
  return `/v1/clusters/${encodeURIComponent(name)}${more}`;
}

export function clusterLink(name, more = "") {
  return `#/clusters/${encodeURIComponent(name)}${more}`;
}

// A table; on a narrow screen each row is a list, whose names the style takes from `data-label`.
export function table(label, heads, rows) {
  const head = el("tr", {}, ...heads.map((text) => el("th", { scope: "col" }, text)));
  const body = el("tbody", {}, ...rows.map((cells) => el("tr", {}, ...cells.map((cell, at) => el("td", { "data-label": heads[at] }, cell)))));
  return el("div.scroll", { role: "region", "aria-label": label, tabindex: "0" }, el("table", {}, el("thead", {}, head), body));
}

// A share as a bar and in words; none where nothing is said.
export function bar(name) {
  const fill = el("span.fill");
  const words = el("span.words");
  const box = el("div.bar", {}, el("span.name", {}, name), el("span.track", { "aria-hidden": "true" }, fill), words);
  const update = (share, source) => {
    const said = typeof share === "number";
    // Set by the object model: the page's policy forbids style attributes.
    fill.style.width = said ? `${Math.min(100, Math.max(0, share * 100))}%` : "0";
    fill.className = share > 0.9 ? "fill bad" : share > 0.75 ? "fill waits" : "fill";
    set(words, said ? `${percent(share)}${source ? ` ${source}` : ""}` : "not said");
  };
  return { box, update };
}
