// What comes line by line: a cluster's events and a pod's log. The page keeps a bounded number of lines.

import { clock, clusterPath, count, el, pill, set } from "./dom.js";
import { follow, read } from "./stream.js";

const MOST_EVENTS = 200;
const MOST_LINES = 2000;
const PAUSE = 50;

const WORRYING = ["warning", "pod_failed", "node_not_ready", "container_restarted"];

// Live events; `showLog(namespace, pod)` is offered for those of pods.
export function events(name, signal, showLog) {
  const status = el("p.note", { role: "status" }, "Connecting…");
  const list = el("ol.feed", { "aria-label": "Events, the newest first", tabindex: "0" });
  const add = (row) => {
    list.prepend(row);
    if (list.children.length > MOST_EVENTS) list.lastChild.remove();
  };
  const onEvent = (kind, data) => {
    if (kind === "event") add(told(data, showLog));
    else if (kind === "left_out") add(el("li.aside", {}, `${data.left_out} more were not told one by one`));
    else if (kind === "missed") add(el("li.aside", {}, `${data.count} were missed`));
    else if (kind === "end") add(el("li.aside", {}, `The stream ended: ${data.reason}`));
  };
  const onState = (word) => set(status, word === "live" ? "Live, the newest first" : `Not live: ${word}`);
  follow(clusterPath(name, "/events"), { signal, onEvent, onState }).catch((error) => onState(error.message));
  return el("div", {}, status, list);
}

function told(event, showLog) {
  const bad = WORRYING.includes(event.event_type);
  const where = event.namespace ? `${event.namespace}/${event.resource}` : event.resource;
  const details = Object.entries(event.details || {}).map(([key, value]) => `${key}: ${typeof value === "string" ? value : JSON.stringify(value)}`);
  const often = event.count > 1 ? ` ×${count(event.count)}` : "";
  const isPod = /^(pod_|container_)/.test(event.event_type) && event.event_type !== "pod_deleted" && event.namespace;
  const log = isPod ? el("button.small", { type: "button", "aria-label": `Log of ${where}`, onclick: () => showLog(event.namespace, event.resource) }, "Log") : null;
  return el("li", {}, clock(event.occurred_at || event.received_at), " ",
    pill(event.event_type.replaceAll("_", " "), bad ? "waits" : "plain"), " ", el("b", {}, where), often,
    el("span.details", {}, details.join(" · ")), log);
}

function field(label, attributes) {
  const input = el("input", { autocomplete: "off", autocapitalize: "off", spellcheck: "false", ...attributes });
  return { input, box: el("label", {}, label, input) };
}

// Reads a log, with a form that says which.
export function logs(name, signal) {
  const pod = field("Pod", { required: true });
  const namespace = field("Namespace", { value: "default" });
  const container = field("Container", { placeholder: "the only one" });
  const tail = field("Last lines", { type: "number", min: "1", max: String(MOST_LINES), value: "200" });
  const goOn = field("Follow", { type: "checkbox", checked: true });
  const before = field("Before the last restart", { type: "checkbox" });
  const status = el("p.note", { role: "status" }, "Name a pod, or take one from an event.");
  const lines = el("pre.log", { tabindex: "0", "aria-label": "Log" });
  const stop = el("button", { type: "button", disabled: true, onclick: () => running?.abort() }, "Stop");
  let running = null;

  // Lines are put on the page some at a time: each time costs the browser a layout.
  let waiting = [];
  let timer = 0;
  const add = (text) => {
    waiting.push(text);
    if (waiting.length > 2 * MOST_LINES) waiting = waiting.slice(-MOST_LINES);
    timer ||= setTimeout(flush, PAUSE);
  };
  const flush = () => {
    clearTimeout(timer);
    timer = 0;
    // Who has scrolled up reads, and is left there.
    const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 30;
    lines.append(...waiting.slice(-MOST_LINES).map((text) => el("span", {}, `${text}\n`)));
    waiting = [];
    while (lines.children.length > MOST_LINES) lines.firstChild.remove();
    if (atEnd) lines.scrollTop = lines.scrollHeight;
  };

  async function start() {
    running?.abort();
    const mine = new AbortController();
    running = mine;
    waiting = [];
    lines.replaceChildren();
    stop.disabled = false;
    const query = new URLSearchParams({ pod: pod.input.value.trim(), namespace: namespace.input.value.trim() || "default" });
    if (container.input.value.trim()) query.set("container", container.input.value.trim());
    if (tail.input.value) query.set("tail_lines", tail.input.value);
    if (goOn.input.checked) query.set("follow", "true");
    if (before.input.checked) query.set("previous", "true");
    let end = "";
    let total = 0;
    const onEvent = (kind, data) => {
      // What an earlier request still had on its way.
      if (running !== mine) return;
      if (kind === "log") add(data.line), total += 1;
      else if (kind === "end") end = "The log has ended";
      else if (kind === "error") end = data.error?.message || "The log was cut";
    };
    set(status, "Asking…");
    try {
      await read(clusterPath(name, `/logs?${query}`), AbortSignal.any([signal, mine.signal]), onEvent, () => set(status, "Live"));
    } catch (error) {
      end = mine.signal.aborted ? "Stopped" : error.message;
    }
    if (running !== mine) return;
    flush();
    stop.disabled = true;
    const kept = total > MOST_LINES ? `, the last ${MOST_LINES} are here` : "";
    set(status, `${end}. ${count(total)} lines${kept}.`);
  }

  const form = el("form.logs", { autocomplete: "off", onsubmit: (event) => { event.preventDefault(); start(); } },
    pod.box, namespace.box, container.box, tail.box, goOn.box, before.box,
    el("div.actions", {}, el("button.main", { type: "submit" }, "Read"), stop));
  const box = el("div", {}, form, status, lines);
  const show = (where, which) => {
    namespace.input.value = where;
    pod.input.value = which;
    box.scrollIntoView({ block: "start" });
    start();
  };
  return { box, show };
}
