// Which part is shown, by the address after `#`, and the way in. The token is in neither.

import { logIn, logOut, token, whenLoggedOut } from "./api.js";
import { audit } from "./audit.js";
import { cluster } from "./cluster.js";
import { deployment } from "./deployments.js";
import { el, set } from "./dom.js";
import { forget } from "./history.js";
import { overview } from "./overview.js";

const view = document.getElementById("view");
const nav = document.getElementById("nav");
let current = new AbortController();

// Ends what was shown, with all its timers and streams.
function fresh() {
  current.abort();
  current = new AbortController();
  view.replaceChildren();
  return current.signal;
}

function show() {
  const signal = fresh();
  nav.hidden = !token();
  if (!token()) return login("");
  const [part, name, more, id] = parts();
  document.title = `${name || part || "Clusters"} – PipeOps`;
  for (const link of nav.querySelectorAll("a")) {
    const here = link.getAttribute("href") === (part === "audit" ? "#/audit" : "#/");
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (part === "clusters" && more === "deployments" && id) deployment(view, signal, name, id);
  else if (part === "clusters" && name) cluster(view, signal, name);
  else if (part === "audit") audit(view, signal);
  else overview(view, signal);
}

function parts() {
  try {
    return location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  } catch {
    // A broken address is the front page's.
    return [""];
  }
}

function login(why) {
  document.title = "Log in – PipeOps";
  const input = el("input", { type: "password", id: "token", autocomplete: "off", autocapitalize: "off", spellcheck: "false", required: true });
  const note = el("p.why", { role: "alert" }, why);
  note.hidden = !why;
  const button = el("button.main", { type: "submit" }, "Log in");
  const submit = async (event) => {
    event.preventDefault();
    const text = input.value.trim();
    button.disabled = true;
    let problem = "";
    try {
      if (!/^[\x21-\x7e]+$/.test(text)) throw new Error("A token has no spaces and no characters beyond ASCII.");
      await logIn(text);
    } catch (error) {
      problem = error instanceof TypeError || error.name === "TimeoutError" ? "The gateway does not answer." : error.message;
    }
    input.value = "";
    button.disabled = false;
    if (!problem) return arrive();
    set(note, problem);
    note.hidden = false;
    input.focus();
  };
  view.append(el("form.login", { autocomplete: "off", onsubmit: submit },
    el("h1", {}, "Log in"),
    el("label", { for: "token" }, "User token", input), note, button,
    el("p.note", {}, "The token stays in this tab and is gone with it. ",
      el("code", {}, "pipeops-gateway token create user …"), " makes one; the scope ", el("code", {}, "read"), " is enough to look.")));
  input.focus();
}

function arrive() {
  document.getElementById("nav-audit").hidden = false;
  show();
  view.focus();
}

whenLoggedOut((why) => {
  forget();
  document.getElementById("connection").hidden = true;
  nav.hidden = true;
  fresh();
  login(why);
});

document.getElementById("logout").addEventListener("click", () => logOut());
document.querySelector(".skip").addEventListener("click", (event) => {
  // The address after `#` is a route here.
  event.preventDefault();
  view.focus();
});
addEventListener("hashchange", () => {
  show();
  scrollTo(0, 0);
});
show();
