// An agent that is none of ours: the reference's connection example by Node's ws.
//
// Each line of standard input is sent as it is; each message that comes is a line of standard output. Usage:
// agent.js URL CA TOKEN_FILE CLUSTER_ID [HEADER VALUE]...
"use strict";

const fs = require("fs");
const readline = require("readline");
const WebSocket = require("ws");

const [url, ca, tokenFile, clusterId, ...more] = process.argv.slice(2);
const headers = {
  'Authorization': `Bearer ${fs.readFileSync(tokenFile, "utf8").trim()}`,
  'X-Cluster-ID': clusterId
};
for (let at = 0; at < more.length; at += 2) headers[more[at]] = more[at + 1];
const ws = new WebSocket(url, { headers, ca: fs.readFileSync(ca) });

ws.on("message", (message) => process.stdout.write(`${message}\n`));
ws.on("close", () => process.exit(0));
ws.on("error", (error) => { console.error(error.message); process.exit(1); });
ws.on("open", () => {
  const lines = readline.createInterface({ input: process.stdin });
  lines.on("line", (line) => ws.send(line));
  lines.on("close", () => ws.close());
});
