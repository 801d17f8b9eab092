// What was seen of clusters in the last minutes, as far as this page was open: figures for plots.

export const SPAN = 300_000;
export const EVERY = 5_000;
// A step longer than this is a gap: the page was hidden, or the gateway away.
const GAP = 3 * EVERY;
const MOST_CLUSTERS = 500;

const seen = new Map();

// Takes note of a cluster as the API has told it just now.
export function note(cluster) {
  const now = Date.now();
  const samples = seen.get(cluster.name) || [];
  seen.delete(cluster.name);
  seen.set(cluster.name, samples);
  if (seen.size > MOST_CLUSTERS) seen.delete(seen.keys().next().value);
  // Two views of the same cluster do not make two samples.
  if (samples.length && now - samples.at(-1).at < EVERY / 2) samples.pop();
  samples.push(sample(cluster, now, samples.at(-1)));
  while (samples.length && now - samples[0].at > SPAN + EVERY) samples.shift();
}

function sample(cluster, at, before) {
  const { bytes_sent: sent, bytes_received: received, requests, streams } = cluster.traffic;
  const raw = { sent, received, requests };
  const here = cluster.status !== "disconnected";
  const figure = (value) => (here && typeof value === "number" ? value : null);
  return {
    at,
    raw,
    streams,
    ...rates(raw, at, before),
    latency: figure(cluster.latency_ms),
    cpu: figure(cluster.metrics.cpu_usage),
    memory: figure(cluster.metrics.memory_usage),
    pods: figure(cluster.pods_running ?? cluster.metrics.active_pods),
  };
}

// Counters become rates; one that went back has begun anew with the gateway.
function rates(raw, at, before) {
  const none = { toCluster: null, fromCluster: null, requests: null };
  if (!before || at - before.at > GAP) return none;
  const seconds = (at - before.at) / 1000;
  const [sent, received, requests] = ["sent", "received", "requests"].map((name) => (raw[name] - before.raw[name]) / seconds);
  if (sent < 0 || received < 0 || requests < 0) return none;
  return { toCluster: sent, fromCluster: received, requests };
}

export function samples(name) {
  return seen.get(name) || [];
}

export function forget() {
  seen.clear();
}

// Points of one figure, as runs without a gap.
export function runs(list, figure) {
  const all = [[]];
  let last = 0;
  for (const one of list) {
    if (one[figure] === null || one.at - last > GAP) all.push([]);
    if (one[figure] !== null) all.at(-1).push([one.at, one[figure]]);
    last = one.at;
  }
  return all.filter((run) => run.length);
}
