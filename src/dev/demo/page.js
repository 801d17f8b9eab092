"use strict";
const by = (id) => document.getElementById(id);
const show = (id, line) => {
  const box = by(id);
  const lines = box.dataset.live ? box.textContent.split("\n") : [];
  box.dataset.live = "1";
  box.textContent = [line, ...lines].slice(0, 50).join("\n");
};

const events = new EventSource("events");
events.onmessage = (event) => show("events", event.data);
events.onerror = () => show("events", "the stream broke; connecting again");

const target = new URL("echo", document.baseURI);
target.protocol = target.protocol === "https:" ? "wss:" : "ws:";
const socket = new WebSocket(target);
socket.onopen = () => { show("echo", "open"); socket.send("hello"); };
socket.onmessage = (event) => show("echo", "« " + event.data);
socket.onclose = (event) => show("echo", "closed (" + event.code + ")");
by("say").onsubmit = (event) => {
  event.preventDefault();
  const text = by("text").value;
  if (socket.readyState !== WebSocket.OPEN) { show("echo", "not connected: load the page again"); return; }
  show("echo", "» " + text);
  socket.send(text);
};

by("fetch").onclick = async () => {
  const out = by("speed");
  const start = performance.now();
  let bytes = 0;
  try {
    const response = await fetch("download?bytes=67108864");
    const reader = response.body.getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) { bytes += part.value.length; }
    const seconds = (performance.now() - start) / 1000;
    out.textContent = bytes + " bytes, " + (bytes / 1048576 / seconds).toFixed(0) + " MiB/s";
  } catch (error) {
    out.textContent = "failed after " + bytes + " bytes: " + error;
  }
};
