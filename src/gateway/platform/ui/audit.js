// What was done through the API, the newest first; only for tokens that may read it.

import { ApiError, connected, get } from "./api.js";
import { el, set, state, table, when } from "./dom.js";

const PAGE = 100;
const MOST_ROWS = 1000;

export function audit(root, signal) {
  const cluster = el("input", { autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
  const subject = el("input", { autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
  const note = el("p.note", { role: "status" });
  const place = el("div");
  const older = el("button", { type: "button", hidden: true, onclick: () => load() }, "Older entries");
  const form = el("form.logs", { autocomplete: "off", onsubmit: (event) => { event.preventDefault(); again(); } },
    el("label", {}, "Cluster", cluster), el("label", {}, "Subject", subject),
    el("div.actions", {}, el("button.main", { type: "submit" }, "Show")));
  root.append(el("h1", {}, "Audit"), form, note, place, older);
  let rows = [];
  let cursor = null;

  function again() {
    rows = [];
    cursor = null;
    load();
  }

  async function load() {
    set(note, "Loading…");
    const query = new URLSearchParams({ limit: PAGE });
    if (cursor) query.set("cursor", cursor);
    if (cluster.value.trim()) query.set("cluster", cluster.value.trim());
    if (subject.value.trim()) query.set("subject", subject.value.trim());
    try {
      const page = await get(`/v1/audit?${query}`, signal);
      connected();
      cursor = page.next_cursor;
      rows.push(...page.items.map(row));
    } catch (error) {
      if (!signal.aborted) refused(error);
      return;
    }
    const full = rows.length >= MOST_ROWS;
    set(note, full ? "That is as much as this page holds; narrow it by cluster or subject." : rows.length ? "" : "Nothing fits.");
    place.replaceChildren(rows.length ? table("Audit", ["When", "Who", "Action", "Cluster's id", "Target", "Outcome", "Status", "From", "Details"], rows) : "");
    older.hidden = !cursor || full;
  }

  function refused(error) {
    set(note, error.message);
    if (error instanceof ApiError && error.status === 403 && !cluster.value && !subject.value) {
      form.hidden = older.hidden = true;
      document.getElementById("nav-audit").hidden = true;
      set(note, `This token may not read the audit log: ${error.message}`);
    }
  }

  load();
}

function row(entry) {
  const details = Object.keys(entry.details || {}).length ? el("code", {}, JSON.stringify(entry.details)) : "";
  return [when(entry.at), entry.subject || "–", entry.action, entry.cluster || "", entry.target, state(entry.outcome), String(entry.status), entry.peer, details];
}
