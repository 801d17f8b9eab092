// All clusters that the token may read, a page of them at a time.

import { get, poll } from "./api.js";
import { age, bar, clusterLink, count, el, kindOf, milliseconds, rate, set, state } from "./dom.js";
import * as history from "./history.js";
import { spark } from "./plot.js";

const PAGE = 60;
const LINES = [{ figure: "toCluster" }, { figure: "fromCluster" }];

export function overview(root, signal) {
  // Cursors of the pages before this one, then this one's.
  const cursors = [""];
  const cards = new Map();
  const filter = el("input", { type: "search", id: "filter", placeholder: "name, label, state…", autocomplete: "off", spellcheck: "false", oninput: () => sieve() });
  const summary = el("p.note", { role: "status" }, "Loading…");
  const list = el("ul.cards", { "aria-label": "Clusters" });
  const turn = (forward) => {
    if (forward) cursors.push(next);
    else cursors.pop();
    controller.abort();
    start();
  };
  const back = el("button", { type: "button", onclick: () => turn(false) }, "Previous");
  const on = el("button", { type: "button", onclick: () => turn(true) }, "Next");
  const pager = el("nav.pager", { "aria-label": "Pages of clusters" }, back, on);
  root.append(el("div.row", {}, el("h1", {}, "Clusters"), el("label.filter", { for: "filter" }, "Filter ", filter)), summary, list, pager);

  let items = [];
  let next = null;
  let controller = new AbortController();

  function start() {
    controller = new AbortController();
    poll(load, history.EVERY, AbortSignal.any([signal, controller.signal]));
  }

  async function load(active) {
    const cursor = cursors.at(-1);
    const page = await get(`/v1/clusters?limit=${PAGE}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`, active);
    items = page.items;
    next = page.next_cursor;
    items.forEach(history.note);
    show();
  }

  function show() {
    const names = new Set(items.map((item) => item.name));
    for (const [name, card] of cards) {
      if (!names.has(name)) card.box.remove(), cards.delete(name);
    }
    items.forEach((item, at) => {
      const made = cards.get(item.name) || card(item.name);
      cards.set(item.name, made);
      // Moved only where it stands wrong: what has the keyboard's focus would lose it.
      if (list.children[at] !== made.box) list.insertBefore(made.box, list.children[at] || null);
      made.update(item);
    });
    pager.hidden = cursors.length === 1 && !next;
    back.disabled = cursors.length === 1;
    on.disabled = !next;
    sieve();
  }

  function sieve() {
    const wanted = filter.value.trim().toLowerCase();
    let shown = 0;
    const states = {};
    for (const item of items) {
      const text = [item.name, item.id, item.status, item.health, item.description, item.version, item.kubernetes_version,
        ...Object.entries(item.labels).map(([key, value]) => `${key}=${value}`)].join(" ").toLowerCase();
      const fits = text.includes(wanted);
      cards.get(item.name).box.hidden = !fits;
      if (fits) shown += 1;
      states[item.status] = (states[item.status] || 0) + 1;
    }
    const said = Object.entries(states).sort().map(([name, number]) => `${number} ${name}`).join(", ");
    const of = cursors.length > 1 || next ? " on this page" : "";
    if (!items.length) set(summary, "No cluster is registered that this token may read.");
    else set(summary, wanted ? `${shown} of ${items.length}${of} fit the filter` : `${items.length}${of}: ${said}`);
  }

  start();
}

// What is said of a cluster in a line or two.
export function figures(item) {
  return [
    ["Nodes ready", item.nodes === null ? "–" : `${item.nodes_ready ?? "?"} of ${item.nodes}`],
    ["Pods running", item.pods === null ? "–" : `${item.pods_running ?? "?"} of ${item.pods}`],
    ["Latency", item.latency_ms === null ? "–" : milliseconds(item.latency_ms)],
    ["Heartbeat", age(item.last_heartbeat)],
    ["Kubernetes", item.kubernetes_version || "–"],
    ["Agent", item.version || "–"],
  ];
}

// A list of terms whose values are changed in place.
export function terms() {
  const list = el("dl.terms");
  const values = new Map();
  const update = (pairs) => {
    for (const [name, text] of pairs) {
      if (!values.has(name)) {
        values.set(name, el("dd"));
        list.append(el("div", {}, el("dt", {}, name), values.get(name)));
      }
      set(values.get(name), text);
    }
  };
  return { list, update };
}

// States as pills, made anew only when they change.
export function pills() {
  const box = el("span.pills");
  let shown = "";
  const update = (item) => {
    const words = [item.status, ...(item.status === "disconnected" || item.health === "unknown" ? [] : [item.health])];
    if (words.join() === shown) return;
    shown = words.join();
    box.replaceChildren(...words.map(state));
  };
  return { box, update };
}

export function reasons(item) {
  const gone = item.status !== "disconnected" ? []
    : [item.disconnected_since ? `No agent for ${age(item.disconnected_since).replace(" ago", "")}; figures are the last ones.`
      : "No agent has connected since the gateway started."];
  return [...gone, ...item.health_reasons].join(" · ");
}

function card(name) {
  const states = pills();
  const why = el("p.why");
  const facts = terms();
  const [cpu, memory] = [bar("CPU"), bar("Memory")];
  const traffic = el("span");
  const line = spark(LINES);
  const box = el("li.card", {},
    el("div.row", {}, el("h2", {}, el("a", { href: clusterLink(name) }, name)), states.box),
    why, cpu.box, memory.box, facts.list, el("div.traffic", {}, line.box, traffic));
  const update = (item) => {
    states.update(item);
    box.dataset.kind = kindOf(item.status);
    set(why, reasons(item));
    why.hidden = !why.textContent;
    cpu.update(item.metrics.cpu_usage, item.metrics_source);
    memory.update(item.metrics.memory_usage, item.metrics_source);
    facts.update(figures(item));
    const samples = history.samples(name);
    const last = samples.at(-1);
    const rates = last && last.toCluster !== null ? `to ${rate(last.toCluster)}, from ${rate(last.fromCluster)}` : "rate to come";
    set(traffic, `${rates} · ${count(item.traffic.streams)} streams open`);
    line.update(samples);
  };
  return { box, update };
}
