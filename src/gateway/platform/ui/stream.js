// Server-sent events over fetch: EventSource can not send a token in a header.

import { ApiError, ask } from "./api.js";

// The gateway sends a comment every 15 s; after three that are missing the connection is taken for dead.
const SILENCE = 50_000;
const MOST_BUFFERED = 4 << 20;
const BACKOFF = [1_000, 30_000];

// Splits text into events (WHATWG HTML, section 9.2.6), as far as the gateway writes them: lines end with a line feed.
export class Parser {
  #rest = "";
  #event = {};

  push(text) {
    const events = [];
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop();
    if (this.#rest.length > MOST_BUFFERED) throw new Error("the gateway sent an event that is too large");
    for (const line of lines) {
      if (line === "") {
        if (this.#event.data !== undefined) events.push(this.#event);
        this.#event = {};
        continue;
      }
      const colon = line.indexOf(":");
      if (colon === 0) continue;
      const name = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (name === "data") this.#event.data = this.#event.data === undefined ? value : `${this.#event.data}\n${value}`;
      else if (name === "event" || name === "id") this.#event[name] = value;
    }
    return events;
  }
}

// One connection: calls `onEvent(name, data, id)` for each event; true once the gateway has said that it ends.
async function once(path, lastId, signal, onEvent, onOpen) {
  const quiet = new AbortController();
  const both = AbortSignal.any([signal, quiet.signal]);
  let timer = setTimeout(() => quiet.abort(), SILENCE);
  try {
    const headers = { accept: "text/event-stream", ...(lastId ? { "last-event-id": lastId } : {}) };
    const response = await ask(path, headers, both);
    onOpen();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new Parser();
    let over = false;
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return over;
      clearTimeout(timer);
      timer = setTimeout(() => quiet.abort(), SILENCE);
      for (const { event, data, id } of parser.push(value)) {
        over ||= event === "end" || event === "error";
        onEvent(event || "message", JSON.parse(data), id);
      }
    }
  } finally {
    clearTimeout(timer);
  }
}

// Reads one stream to its end, without another try.
export async function read(path, signal, onEvent, onOpen = () => {}) {
  if (!(await once(path, "", signal, onEvent, onOpen)) && !signal.aborted) throw new Error("the connection was cut");
}

// Follows a stream until the signal, again from the last event after each cut. `ends` says that an end is the end.
// `onState` is told `live`, or why not.
export async function follow(path, { signal, onEvent, onState, ends = false }) {
  let lastId = "";
  let wait = BACKOFF[0];
  const noted = (name, data, id) => {
    if (id) lastId = id;
    wait = BACKOFF[0];
    onEvent(name, data);
  };
  while (!signal.aborted) {
    let why = "the connection was cut";
    try {
      const over = await once(path, lastId, signal, noted, () => onState("live"));
      if (over && ends) return;
    } catch (error) {
      const final = error instanceof ApiError && error.status < 500 && error.status !== 429;
      if (error instanceof ApiError) why = error.message;
      if (final || signal.aborted) return void (signal.aborted || onState(why));
      wait = Math.max(wait, (error.retryAfter || 0) * 1000);
    }
    if (signal.aborted) return;
    onState(`${why}; trying again`);
    // Not all pages at once after a restart of the gateway.
    await pause(wait * (0.7 + 0.6 * Math.random()), signal);
    wait = Math.min(wait * 2, BACKOFF[1]);
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
