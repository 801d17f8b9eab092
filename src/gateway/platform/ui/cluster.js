// One cluster: how it is, what goes through the tunnel, what happens, what was deployed, what its pods write.

import { get, poll } from "./api.js";
import { age, bar, bytes, clusterPath, count, el, milliseconds, percent, rate, set, state, table, when } from "./dom.js";
import { deployments } from "./deployments.js";
import { events, logs } from "./feed.js";
import * as history from "./history.js";
import { figures, pills, reasons, terms } from "./overview.js";
import { plot } from "./plot.js";

function plots() {
  const perSecond = (number) => `${count(number)}/s`;
  return [
    plot("Throughput", [{ name: "to it", figure: "toCluster" }, { name: "from it", figure: "fromCluster" }], rate, { least: 1000 }),
    plot("Streams open", [{ figure: "streams" }], count, { least: 10 }),
    plot("Requests", [{ figure: "requests" }], perSecond, { least: 1 }),
    plot("Latency", [{ figure: "latency" }], milliseconds, { least: 1 }),
    plot("Usage", [{ name: "CPU", figure: "cpu" }, { name: "memory", figure: "memory" }], percent, { most: 1 }),
    plot("Pods running", [{ figure: "pods" }], count, { least: 10 }),
  ];
}

function agentTable(item) {
  const rows = item.agents.map((agent) => [
    agent.session_id,
    state(agent.draining ? "draining" : "connected"),
    when(agent.connected_since),
    agent.latency_ms === null ? "–" : milliseconds(agent.latency_ms),
  ]);
  return rows.length ? table("Agents", ["Session", "State", "Connected since", "Latency"], rows) : el("p.note", {}, "No agent is connected.");
}

export function section(title, ...content) {
  return el("section", { "aria-label": title }, el("h2", {}, title), ...content);
}

function header(name) {
  const states = pills();
  const [about, why] = [el("p.note"), el("p.why")];
  const facts = terms();
  const [cpu, memory] = [bar("CPU"), bar("Memory")];
  const box = el("div", {},
    el("p.crumbs", {}, el("a", { href: "#/" }, "Clusters"), " / "),
    el("div.row", {}, el("h1", {}, name), states.box), about, why, el("div.bars", {}, cpu.box, memory.box), facts.list);
  const update = (item) => {
    states.update(item);
    const labels = Object.entries(item.labels).map(([key, value]) => `${key}=${value}`);
    set(about, [item.description, ...labels].filter(Boolean).join(" · "));
    about.hidden = !about.textContent;
    set(why, reasons(item));
    why.hidden = !why.textContent;
    cpu.update(item.metrics.cpu_usage, item.metrics_source);
    memory.update(item.metrics.memory_usage, item.metrics_source);
    facts.update([...figures(item),
      ["Services", item.services === null ? "–" : String(item.services)],
      ["Status told", age(item.last_status)],
      ["Id", item.id],
      ["Sent to it", bytes(item.traffic.bytes_sent)],
      ["Received from it", bytes(item.traffic.bytes_received)],
      ["Requests", `${count(item.traffic.requests)}, ${count(item.traffic.streams)} open`]]);
  };
  return { box, update };
}

export function cluster(root, signal, name) {
  const head = header(name);
  const charts = plots();
  const agents = el("div", {}, el("p.note", {}, "Loading…"));
  const viewer = logs(name, signal);
  root.append(head.box,
    section("Last 5 minutes", el("div.plots", {}, ...charts.map((chart) => chart.box))),
    section("Deployments", deployments(name, signal)),
    section("Events", events(name, signal, viewer.show)),
    section("Log of a pod", viewer.box),
    section("Agents", agents));
  let shown = "";
  poll(async (active) => {
    const item = await get(clusterPath(name), active);
    history.note(item);
    head.update(item);
    charts.forEach((chart) => chart.update(history.samples(name)));
    const now = JSON.stringify(item.agents);
    if (now !== shown) agents.replaceChildren(agentTable(item));
    shown = now;
  }, history.EVERY, signal);
}
