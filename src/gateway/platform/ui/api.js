// Requests to the gateway's API. The token lives in the tab's session storage, which ends with the tab, and leaves
// it only in the Authorization header: never in an address, which would be in histories and logs.

const KEY = "pipeops-token";
// Answers that are kept for their tags; the one used longest ago goes first.
const MOST_KEPT = 64;
const PATIENCE = 20_000;

const kept = new Map();
let onLogout = () => {};

export class ApiError extends Error {
  constructor(status, code, message, retryAfter) {
    super(message);
    Object.assign(this, { status, code, retryAfter });
  }
}

export function token() {
  return sessionStorage.getItem(KEY) || "";
}

export function whenLoggedOut(action) {
  onLogout = action;
}

export function logOut(why = "") {
  sessionStorage.removeItem(KEY);
  kept.clear();
  onLogout(why);
}

// Keeps the token if the gateway knows it. A token without the scope for this question is a token all the same.
export async function logIn(text) {
  const response = await fetch("/v1/clusters?limit=1", options(text, {}, AbortSignal.timeout(PATIENCE)));
  if (!response.ok && response.status !== 403) throw await refusal(response);
  sessionStorage.setItem(KEY, text);
}

function options(text, headers, signal) {
  // `cache: no-store` keeps what was answered out of the browser's disk; tags are ours.
  return { headers: { authorization: `Bearer ${text}`, ...headers }, signal, cache: "no-store", credentials: "omit", redirect: "error" };
}

async function refusal(response) {
  let error = {};
  try {
    error = (await response.json()).error || {};
  } catch {
    // Whatever stands between has answered; its status is all there is to tell.
  }
  const message = error.message || `the gateway answered ${response.status}`;
  return new ApiError(response.status, error.code || "", message, Number(response.headers.get("retry-after")) || 0);
}

// The response to a request with the token. A token that is good no more ends the session.
export async function ask(path, headers, signal) {
  const asked = token();
  const response = await fetch(path, options(asked, headers, signal));
  if (response.ok || response.status === 304) return response;
  const error = await refusal(response);
  if (error.status === 401 && asked === token()) logOut(error.message);
  throw error;
}

export async function get(path, signal) {
  const known = kept.get(path);
  const limit = AbortSignal.timeout(PATIENCE);
  const headers = known ? { "if-none-match": known.tag } : {};
  const response = await ask(path, headers, signal ? AbortSignal.any([signal, limit]) : limit);
  if (response.status === 304) return known.body;
  const body = await response.json();
  const tag = response.headers.get("etag");
  kept.delete(path);
  if (tag) kept.set(path, { tag, body });
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
  return body;
}

// Calls `task` now and again every few seconds until the signal; not while nobody can see the page.
export function poll(task, every, signal) {
  let timer = 0;
  let running = false;
  async function run() {
    clearTimeout(timer);
    if (running || document.hidden || signal.aborted) return;
    running = true;
    let wait = every;
    try {
      await task(signal);
      connected();
    } catch (error) {
      if (!signal.aborted) failed(error);
      wait = Math.max(every, (error.retryAfter || 0) * 1000);
    }
    running = false;
    if (!signal.aborted) timer = setTimeout(run, wait);
  }
  document.addEventListener("visibilitychange", run, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  run();
}

let lastAnswer = 0;

export function connected() {
  lastAnswer = Date.now();
  document.getElementById("connection").hidden = true;
}

// Says that what is shown is old, and since when.
function failed(error) {
  if (error.status === 401) return;
  const line = document.getElementById("connection");
  const since = lastAnswer ? `since ${new Date(lastAnswer).toLocaleTimeString()}; what is shown is as of then` : "so far";
  const answered = error instanceof ApiError;
  line.textContent = answered ? `The gateway: ${error.message}` : `No connection ${since}. Trying again.`;
  line.hidden = false;
}
