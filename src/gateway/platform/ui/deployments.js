// What was deployed to a cluster, and one deployment as it goes on.

import { get, poll } from "./api.js";
import { clock, clusterLink, clusterPath, el, set, state, table, when } from "./dom.js";
import * as history from "./history.js";
import { follow } from "./stream.js";

const PAGE = 20;
const MOST_STEPS = 500;

export function deployments(name, signal) {
  const place = el("div", {}, el("p.note", {}, "Loading…"));
  const cursors = [""];
  let [next, shown, controller] = [null, "", null];
  const turn = (cursor) => {
    if (cursor) cursors.push(cursor);
    else cursors.pop();
    start();
  };
  const back = el("button", { type: "button", onclick: () => turn("") }, "Newer");
  const on = el("button", { type: "button", onclick: () => turn(next) }, "Older");
  const pager = el("nav.pager", { "aria-label": "Pages of deployments", hidden: true }, back, on);

  async function load(active) {
    const cursor = cursors.at(-1);
    const page = await get(clusterPath(name, `/deployments?limit=${PAGE}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`), active);
    next = page.next_cursor;
    pager.hidden = cursors.length === 1 && !next;
    back.disabled = cursors.length === 1;
    on.disabled = !next;
    const now = JSON.stringify(page.items);
    if (now === shown) return;
    shown = now;
    place.replaceChildren(page.items.length ? list(name, page.items) : el("p.note", {}, "Nothing was deployed yet."));
  }

  function start() {
    controller?.abort();
    controller = new AbortController();
    poll(load, history.EVERY, AbortSignal.any([signal, controller.signal]));
  }

  start();
  return el("div", {}, place, pager);
}

function list(name, items) {
  const rows = items.map((item) => [
    el("a", { href: clusterLink(name, `/deployments/${encodeURIComponent(item.id)}`) }, item.project_id),
    el("span", {}, state(item.status), item.dry_run ? " dry run" : ""),
    item.namespace,
    item.error?.message || item.message,
    item.requested_by,
    when(item.created_at),
  ]);
  return table("Deployments", ["Project", "Status", "Namespace", "Message", "By", "Asked for"], rows);
}

function objects(items) {
  const rows = (items || []).map((object) => [
    object.kind,
    object.namespace ? `${object.namespace}/${object.name}` : object.name,
    object.action ? state(object.action) : "–",
    object.ready ? state("ready") : el("span", {}, "not ready"),
    object.reason || "",
  ]);
  return rows.length ? table("Objects", ["Kind", "Name", "Action", "Ready", "Reason"], rows) : el("p.note", {}, "None are told yet.");
}

// One deployment: as it is, then each change as it is told.
export function deployment(root, signal, name, id) {
  const states = el("span.pills");
  const [about, message, live] = [el("p.note"), el("p", { role: "status" }), el("p.note", { role: "status" }, "Connecting…")];
  const things = el("div", {}, el("p.note", {}, "Loading…"));
  const steps = el("ol.feed", { "aria-label": "History" });
  const seen = new Set();
  root.append(
    el("p.crumbs", {}, el("a", { href: "#/" }, "Clusters"), " / ", el("a", { href: clusterLink(name) }, name), " / "),
    el("div.row", {}, el("h1", {}, "Deployment"), states), about, message,
    el("section", { "aria-label": "Objects" }, el("h2", {}, "Objects"), things),
    el("section", { "aria-label": "History" }, el("h2", {}, "History"), live, steps));

  const show = (status, text, error) => {
    states.replaceChildren(state(status));
    set(message, error ? `${error.code}: ${error.message}` : text);
  };
  // A step comes with the deployment, and once more with the stream.
  const step = (one) => {
    if (seen.has(one.sequence)) return;
    seen.add(one.sequence);
    steps.prepend(el("li", {}, clock(one.at), " ", state(one.status), " ", one.message));
    if (steps.children.length > MOST_STEPS) steps.lastChild.remove();
  };

  const path = clusterPath(name, `/deployments/${encodeURIComponent(id)}`);
  const look = async () => {
    const item = await get(path, signal);
    show(item.status, item.message, item.error);
    about.replaceChildren(`Project ${item.project_id} in namespace ${item.namespace}, asked for by ${item.requested_by} `, when(item.created_at),
      item.finished_at ? ", ended " : "", item.finished_at ? when(item.finished_at) : "", item.dry_run ? " · dry run" : "", ` · ${item.id}`);
    things.replaceChildren(objects(item.objects));
    item.history?.forEach(step);
  };
  const onEvent = (event, data) => {
    if (event !== "status") return;
    step(data);
    show(data.status, data.message, data.error);
    if (data.objects) things.replaceChildren(objects(data.objects));
  };
  const onState = (word) => set(live, word === "live" ? "Live" : word);
  look().catch((error) => signal.aborted || set(message, error.message));
  follow(`${path}/watch`, { signal, onEvent, onState, ends: true }).then(async () => {
    if (signal.aborted) return;
    if (live.textContent === "Live") set(live, "It has ended.");
    await look();
  }).catch((error) => signal.aborted || set(live, error.message));
}
