#!/usr/bin/env python3
"""Measure tunnel peers side by side on loopback: client -> public port -> tunnel -> agent -> origin nginx.

  measure.py --bin DIR --work DIR --out results.json [--peers a,b] [--adapters FILE.toml ...]
             [--tests bulk,small,close,hol,mem] [--rounds 3] [--seconds 2] [--mem 1000,10000]
  measure.py --report results.json [--drop 0.25]   print the tables again
  measure.py --raw --work DIR             raw limits of this machine (iperf3, openssl, wrk on the origin)

Peers come from peers.toml (see its head). In each round every peer is started, then each test visits all
peers in turn (the order rotates by round), so a noisy moment hits neighbours alike. Each sample stores `foreign`: the
share of the machine's CPU used meanwhile by processes that are not ours; --max-foreign F waits (at most
--wait seconds) for a calmer moment before each sample. Only own children are ever signalled, by PID.
Tests:
  bulk   download/upload with 1 and 8 streams for --seconds: MiB/s, and CPU-seconds per GiB of server and agent
  small  1 KiB keepalive requests (wrk, 1 and 64 connections): req/s, p50, p99, CPU of both ends per request
  close  new connection per request (wrk, 16 connections, Connection: close): req/s
  hol    paced 200 req/s probe, latency from the due time: alone, with 1 and 16 stalled downloads, with 1 full-speed one
         of the same tunnel; and how much both ends grew while 16 downloads stalled
  mem    fresh start; RSS of each end idle, and with N held responses (one byte sent, then silence)
CPU is utime+stime of the processes (kernel softirq work is not in it). RSS is summed over an end's processes.
"""
import argparse, getpass, json, os, re, resource, shutil, signal, statistics, subprocess, sys, time, tomllib
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


# ---- processes -------------------------------------------------------------------------------------
def stats():
    """pid -> (ppid, cpu seconds incl. reaped children, rss bytes)"""
    t = {}
    for d in os.listdir("/proc"):
        if d.isdigit():
            try:
                f = Path("/proc", d, "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            t[int(d)] = (int(f[1]), sum(map(int, f[11:15])) / TICK, int(f[21]) * PAGE)
    return t


def tree(t, root):
    kids, todo, seen = {}, [root], []
    for p, v in t.items():
        kids.setdefault(v[0], []).append(p)
    while todo:
        p = todo.pop()
        if p in t and p not in seen:
            seen.append(p)
            todo += kids.get(p, [])
    return seen


def use(proc, what):  # what: 1 = cpu seconds, 2 = rss bytes
    if proc is None:
        return 0
    t = stats()
    return sum(t[p][what] for p in tree(t, proc.pid))


def spawn(cmd, log):
    return subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=open(log, "ab"), stderr=subprocess.STDOUT,
                            start_new_session=True)


def stop(proc):
    if proc is None:
        return
    pids = tree(stats(), proc.pid)
    for sig in (signal.SIGTERM, signal.SIGKILL):
        for p in pids:
            try:
                os.kill(p, sig)
            except OSError:
                pass
        try:
            proc.wait(3)
        except subprocess.TimeoutExpired:
            continue
        if sig == signal.SIGTERM:
            time.sleep(0.1)


class Noise:
    """Share of the machine's CPU time that went to processes outside our tree."""
    def mark(self):
        f = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]))
        busy = (f[0] + f[1] + f[2] + f[7]) / TICK  # user+nice+system+steal, less irq and softirq
        t = stats()
        return time.time(), busy, sum(t[p][1] for p in tree(t, os.getpid()))

    def start(self):
        self.a = self.mark()

    def share(self):
        b = self.mark()
        wall = (b[0] - self.a[0]) * os.cpu_count()
        return round(max(0.0, (b[1] - self.a[1]) - (b[2] - self.a[2])) / max(wall, 1e-9), 3)


# ---- set-up ----------------------------------------------------------------------------------------
def which(name, bindir):
    p = Path(bindir, name)
    return str(p) if p.is_file() else shutil.which(name)


def setup(a):
    w = Path(a.work).resolve()
    w.mkdir(parents=True, exist_ok=True)
    web = w / "web"
    web.mkdir(exist_ok=True)
    for name, size in (("1k", 1 << 10), ("100k", 100 << 10), ("10m", 10 << 20), ("bulk", 512 << 20)):
        if not (web / name).exists():
            with open(web / name, "wb") as f:
                for _ in range(max(1, size >> 20)):
                    f.write(os.urandom(min(size, 1 << 20)))
    if not (w / "cert.pem").exists():
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                        "-keyout", w / "key.pem", "-out", w / "cert.pem"], check=True, capture_output=True)
    if not (w / "sshkey").exists() and shutil.which("ssh-keygen"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", w / "sshkey"], check=True)
    os.chmod(w, 0o755)
    base = {"bin": str(Path(a.bin).resolve()), "ohost": "127.0.0.1", "oport": str(a.base), "origin": f"127.0.0.1:{a.base}",
            "cert": str(w / "cert.pem"), "key": str(w / "key.pem"), "sshkey": str(w / "sshkey"), "user": getpass.getuser(),
            "helper": which("peerbench", a.bin), "noise_priv": "", "noise_pub": ""}
    if rh := which("rathole", a.bin):
        k = re.findall(r"^\S{43}=$", subprocess.run([rh, "--genkey"], capture_output=True, text=True).stdout, re.M)
        base["noise_priv"], base["noise_pub"] = k
    return w, base


def origin(w, base):
    d = w / "origin"
    d.mkdir(exist_ok=True)
    sock = d / "o2.sock"
    sock.unlink(missing_ok=True)
    (d / "n.conf").write_text(f"""
daemon off; user {getpass.getuser()}; worker_processes 2; worker_rlimit_nofile 60000; pid {d}/pid; error_log {d}/err error;
events {{ worker_connections 30000; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; keepalive_timeout 600s;
  client_max_body_size 0; proxy_request_buffering off; proxy_http_version 1.1; proxy_read_timeout 600s;
  client_body_temp_path {d}/cb; proxy_temp_path {d}/pt; fastcgi_temp_path {d}/f; uwsgi_temp_path {d}/u; scgi_temp_path {d}/s;
  server {{ listen {base['origin']} backlog=4096; root {w}/web;
    location = /hold {{ proxy_pass http://unix:{sock}; }} location = /up {{ proxy_pass http://unix:{sock}; }} }} }}
""")
    o2 = spawn([base["helper"], "origin2", "-uds", str(sock)], d / "log")
    time.sleep(0.2)
    ng = spawn([which("nginx", base["bin"]) or "/usr/sbin/nginx", "-c", str(d / "n.conf")], d / "log")
    wait_up(f"http://{base['origin']}", "", 10)
    return [ng, o2]


def wait_up(url, header, secs):
    import ssl
    ctx = ssl._create_unverified_context()
    end, err = time.time() + secs, None
    while time.time() < end:
        try:
            r = urllib.request.Request(url + "/1k", headers=dict(h.split(": ", 1) for h in header.split("|") if h))
            with urllib.request.urlopen(r, timeout=3, context=ctx) as f:
                if len(f.read()) == 1024:
                    return True
        except Exception as e:
            err = e
        time.sleep(0.1)
    return err


class Peer:
    def __init__(self, name, conf, slot, w, base, a):
        self.name, self.conf, self.a = name, conf, a
        self.link = conf.get("link", "?")
        self.dir = w / ("p-" + name)
        self.dir.mkdir(exist_ok=True)
        port = a.base + 100 + slot * 10
        self.f = dict(base, dir=str(self.dir), port=str(port), uds=str(self.dir / "s.sock"),
                      **{f"p{i}": str(port + i) for i in range(1, 6)})
        self.missing = [n for n in conf.get("needs", []) if not which(n, a.bin)]
        self.url, self.header = self.sub(conf["url"]), self.sub(conf.get("header", ""))
        self.server = self.agent = self.front = None
        self.ok = False

    def sub(self, s):
        return re.sub(r"\{(\w+)\}", lambda m: str(self.f.get(m[1], m[0])), s)

    def run(self, key):
        if key not in self.conf:
            return None
        cmd = [self.sub(c) for c in self.conf[key]]
        cmd[0] = which(cmd[0], self.a.bin) or cmd[0]
        return spawn(cmd, self.dir / f"{key}.log")

    def start(self):
        for n, text in self.conf.get("files", {}).items():
            (self.dir / n).write_text(self.sub(text))
        self.server = self.run("server")
        time.sleep(0.4)
        self.header = re.sub(r"\{file:([^}]+)\}", lambda m: (self.dir / m[1]).read_text().strip(), self.sub(self.conf.get("header", "")))
        self.agent = self.run("agent")
        self.front = self.run("front")
        r = wait_up(self.url, self.header, 15)
        self.ok = r is True
        if not self.ok:
            print(f"  {self.name}: not up: {r} (see {self.dir})", flush=True)
            self.halt()
        return self.ok

    def halt(self):
        for p in (self.front, self.agent, self.server):
            stop(p)
        self.server = self.agent = self.front = None


# ---- load ------------------------------------------------------------------------------------------
def helper(peer, cmd, path, secs, *args):
    c = [peer.f["helper"], cmd, "-url", peer.url + path, "-H", peer.header, "-t", str(secs), *args]
    r = subprocess.run(c, capture_output=True, text=True, timeout=secs * 4 + 40)
    return json.loads(r.stdout.strip().splitlines()[-1])


class Keep:
    """A helper that keeps connections open until told to go."""
    def __init__(self, peer, cmd, path, n, secs=60):
        self.p = subprocess.Popen([peer.f["helper"], cmd, "-url", peer.url + path, "-H", peer.header, "-n", str(n), "-t", str(secs)],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.info = json.loads(self.p.stdout.readline() or "{}")

    def end(self):
        self.p.stdin.close()
        try:
            self.p.wait(5)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()


def ms(s):
    v, u = re.match(r"([\d.]+)(\w+)", s).groups()
    return float(v) * {"us": 1e-3, "ms": 1, "s": 1e3, "m": 6e4}[u]


def wrk(peer, conns, secs, close=False):
    c = ["wrk", "-t1", f"-c{conns}", f"-d{secs}s", "--latency", "--timeout", "5s"]
    for h in peer.header.split("|") + (["Connection: close"] if close else []):
        c += ["-H", h] if h else []
    o = subprocess.run(c + [peer.url + "/1k"], capture_output=True, text=True, timeout=secs + 30).stdout
    g = lambda pat: (re.search(pat, o, re.M) or [None, None])[1]
    bad = sum(map(int, re.findall(r"(?:connect|read|write|timeout|responses:) (\d+)", o)))
    return {"rps": float(g(r"Requests/sec:\s+([\d.]+)") or 0), "n": int(g(r"(\d+) requests in") or 0),
            "p50": ms(g(r"^ +50% +(\S+)") or "0s"), "p99": ms(g(r"^ +99% +(\S+)") or "0s"), "bad": bad}


def cpu(p):
    return use(p.server, 1), use(p.agent, 1)


def t_bulk(p, a, add):
    for tag, n, up in (("d1", 1, 0), ("d8", 8, 0), ("u1", 1, 1), ("u8", 8, 1)):
        c0 = cpu(p)
        r = helper(p, "bulk", "/up" if up else "/bulk", a.seconds, "-n", str(n), *(["-up"] if up else []))
        c1 = cpu(p)
        add(f"{tag} MiB/s", r["bytes"] / r["s"] / 2**20)
        if r["errors"]:
            add(f"{tag} errors", r["errors"])
        gib = r["bytes"] / 2**30 * (a.seconds + 0.3) / a.seconds  # the warm-up is not counted in bytes
        if gib > 0.01 and p.server:
            add(f"{tag} server s/GiB", (c1[0] - c0[0]) / gib)
            add(f"{tag} agent s/GiB", (c1[1] - c0[1]) / gib)
            add(f"{tag} both s/GiB", (c1[0] - c0[0] + c1[1] - c0[1]) / gib)


def t_small(p, a, add):
    for n in (1, 64):
        c0 = sum(cpu(p))
        r = wrk(p, n, a.seconds)
        for k in ("rps", "p50", "p99"):
            add(f"c{n} {k}", r[k])
        if r["bad"]:
            add(f"c{n} bad", r["bad"])
        if r["n"] and p.server:
            add(f"c{n} ends us/req", (sum(cpu(p)) - c0) / r["n"] * 1e6)


def t_close(p, a, add):
    r = wrk(p, 16, a.seconds, close=True)
    for k in ("rps", "p50", "p99"):
        add(f"close {k}", r[k])
    if r["bad"]:
        add("close bad", r["bad"])


def t_hol(p, a, add):
    def go(tag):
        r = helper(p, "probe", "/1k", a.seconds)
        add(f"{tag} p50", r["p50"]), add(f"{tag} p99", r["p99"])
        if r["bad"]:
            add(f"{tag} bad", r["bad"])
    go("quiet")
    for n in (1, 16):
        m0 = use(p.server, 2) + use(p.agent, 2)
        k = Keep(p, "stall", "/bulk", n)
        time.sleep(0.5)
        go(f"stall{n}")
        add(f"stall{n} opened", k.info.get("stalled", 0))
        if n == 16:
            add("stall16 RSS growth MiB", (use(p.server, 2) + use(p.agent, 2) - m0) / 2**20)
        k.end()
    b = subprocess.Popen([p.f["helper"], "bulk", "-url", p.url + "/bulk", "-H", p.header, "-t", str(a.seconds + 1)],
                         stdout=subprocess.PIPE, text=True)
    time.sleep(0.5)
    go("bulk")
    b.communicate(timeout=60)


def t_mem(p, a, add):
    time.sleep(1)
    rss = lambda: (use(p.server, 2) / 2**20, use(p.agent, 2) / 2**20)
    s0, a0 = rss()
    add("idle server MiB", s0), add("idle agent MiB", a0)
    for n in map(int, a.mem.split(",")):
        k = Keep(p, "hold", "/hold", n, 90)
        time.sleep(1)
        s, g = rss()
        add(f"{n} held", k.info.get("held", 0)), add(f"{n} server MiB", s), add(f"{n} agent MiB", g)
        add(f"{n} KiB/conn both", (s + g - s0 - a0) * 1024 / n)
        k.end()
        time.sleep(1)


TESTS = {"bulk": t_bulk, "small": t_small, "close": t_close, "hol": t_hol, "mem": t_mem}


# ---- main ------------------------------------------------------------------------------------------
def measure(a):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the peers are stopped too
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for want in (65536, hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (want, max(want, hard)))
            break
        except (ValueError, OSError):
            pass
    w, base = setup(a)
    table = {}
    for f in [HERE / "peers.toml", *a.adapters]:
        table.update(tomllib.loads(Path(f).read_text()))
    names = a.peers.split(",") if a.peers else list(table)
    peers = [Peer(n, table[n], list(table).index(n), w, base, a) for n in names]
    for p in peers:
        if p.missing:
            print(f"  skip {p.name}: no {', '.join(p.missing)}")
    peers = [p for p in peers if not p.missing]
    out = {"when": time.strftime("%F %T"), "cpus": os.cpu_count(), "link": {p.name: p.link for p in peers}, "samples": []}
    noise = Noise()
    org = origin(w, base)

    def sample(p, test, rnd):
        end = time.time() + a.wait
        noise.start()
        time.sleep(0.2)
        while a.max_foreign < 1 and noise.share() > a.max_foreign and time.time() < end:
            noise.start()
            time.sleep(0.5)
        vals, at = {}, time.time()
        noise.start()
        try:
            TESTS[test](p, a, lambda k, v: vals.__setitem__(k, round(v, 3)))
        except Exception as e:
            vals["failed"] = 1
            print(f"  {p.name} {test}: {e!r}"[:200], flush=True)
        out["samples"].append({"peer": p.name, "test": test, "round": rnd, "foreign": noise.share(), "s": round(time.time() - at, 1), "v": vals})
        Path(a.out).write_text(json.dumps(out))

    try:
        tests = a.tests.split(",")
        for rnd in range(a.rounds):
            turn = peers[rnd * 5 % len(peers):] + peers[:rnd * 5 % len(peers)]
            live = [t for t in tests if t != "mem"]
            if live:
                for p in turn:
                    p.start()
                for t in live:
                    print(time.strftime("%T"), f"round {rnd + 1} {t}", flush=True)
                    for p in turn:
                        if p.ok:
                            sample(p, t, rnd)
                for p in turn:
                    p.halt()
            if "mem" in tests and rnd < a.mem_rounds:
                print(time.strftime("%T"), f"round {rnd + 1} mem", flush=True)
                for p in turn:
                    if p.conf.get("server") and p.start():
                        sample(p, "mem", rnd)
                        p.halt()
    finally:
        for p in peers:
            p.halt()
        for o in org:
            stop(o)
    report(out)


COLUMNS = {
    "Bulk, MiB/s": ["d1 MiB/s", "d8 MiB/s", "u1 MiB/s", "u8 MiB/s"],
    "CPU-seconds per GiB, server + agent": ["d1 both s/GiB", "d8 both s/GiB", "u1 both s/GiB", "u8 both s/GiB", "d8 server s/GiB", "d8 agent s/GiB"],
    "1 KiB keepalive requests (ms)": ["c1 rps", "c1 p50", "c1 p99", "c64 rps", "c64 p50", "c64 p99", "c64 ends us/req"],
    "New connection per request": ["close rps", "close p50", "close p99", "close bad"],
    "Probe at 200 req/s (ms)": ["quiet p50", "quiet p99", "stall1 p99", "stall16 p99", "stall16 bad", "bulk p50", "bulk p99", "bulk bad", "stall16 RSS growth MiB"],
    "Memory": ["idle server MiB", "idle agent MiB"],
}


def report(out, drop=1.0):
    """Markdown: min / median / max of the samples; those with a foreign CPU share above drop are left out."""
    def num(x):
        return f"{x:.0f}" if abs(x) >= 100 else f"{x:.3g}"
    fo = [x["foreign"] for x in out["samples"]] or [0]
    s = [x for x in out["samples"] if x["foreign"] <= drop]
    print(f"\n{out['when']}, {out['cpus']} CPUs; CPU taken by others during samples: median {statistics.median(fo):.0%}, max {max(fo):.0%}; {len(fo) - len(s)} of {len(fo)} samples left out")
    cols = dict(COLUMNS)
    cols["Memory"] = cols["Memory"] + sorted({k for x in s for k in x["v"] if re.match(r"\d+ (held|server|agent|KiB)", k)}, key=lambda k: int(k.split()[0]))
    for title, ks in cols.items():
        ks = [k for k in ks if any(k in x["v"] for x in s)]
        if not ks:
            continue
        print(f"\n### {title}\n\n| peer (link) | " + " | ".join(ks) + " |\n|---" * 1 + "|" + "---|" * (len(ks)))
        for p in out["link"]:
            row = []
            for k in ks:
                v = [x["v"][k] for x in s if x["peer"] == p and k in x["v"]]
                row.append("" if not v else num(v[0]) if len(v) == 1 else "/".join(num(f(v)) for f in (min, statistics.median, max)))
            if any(row):
                print(f"| {p} ({out['link'][p]}) | " + " | ".join(row) + " |")


def raw(a):
    """What the machine gives without any tunnel."""
    w, base = setup(a)
    sh = lambda c, t=60: subprocess.run(c, capture_output=True, text=True, timeout=t).stdout
    port = str(a.base + 90)
    srv = spawn(["iperf3", "-s", "-B", "127.0.0.1", "-p", port], w / "iperf.log")
    time.sleep(0.5)
    try:
        for n in ("1", "8"):
            v = [json.loads(sh(["iperf3", "-c", "127.0.0.1", "-p", port, "-P", n, "-t", "3", "-J"]))["end"]["sum_received"]["bits_per_second"] / 8 / 2**20 for _ in range(a.rounds)]
            print(f"loopback TCP {n} stream(s): {min(v):.0f}/{statistics.median(v):.0f}/{max(v):.0f} MiB/s", flush=True)
    finally:
        stop(srv)
    for c in ("aes-128-gcm", "aes-256-gcm", "chacha20-poly1305"):
        v = [float(sh(["openssl", "speed", "-evp", c, "-bytes", "16384", "-seconds", "1"]).split()[-1][:-1]) * 1000 / 2**20 for _ in range(a.rounds)]
        print(f"{c}, 16 KiB, one core: {min(v):.0f}/{statistics.median(v):.0f}/{max(v):.0f} MiB/s", flush=True)
    # TLS 1.3 stream on loopback: nginx (OpenSSL) -> helper (Go crypto/tls)
    d = w / "tls"
    d.mkdir(exist_ok=True)
    (d / "n.conf").write_text(f"""
daemon off; user {getpass.getuser()}; worker_processes 2; pid {d}/pid; error_log {d}/err error; events {{ }}
http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {d}/cb; proxy_temp_path {d}/pt; fastcgi_temp_path {d}/f; uwsgi_temp_path {d}/u;
  scgi_temp_path {d}/s; server {{ listen 127.0.0.1:{a.base + 91} ssl; ssl_protocols TLSv1.3; ssl_certificate {base['cert']}; ssl_certificate_key {base['key']}; root {w}/web; }} }}
""")
    tl = spawn([which("nginx", a.bin) or "/usr/sbin/nginx", "-c", str(d / "n.conf")], d / "log")
    org = origin(w, base)
    try:
        url = f"https://127.0.0.1:{a.base + 91}"
        wait_up(url, "", 10)
        for n in ("1", "8"):
            v = []
            for _ in range(a.rounds):
                r = json.loads(sh([base["helper"], "bulk", "-url", url + "/bulk", "-n", n, "-t", "3"]))
                v.append(r["bytes"] / r["s"] / 2**20)
            print(f"TLS 1.3 download, {n} stream(s), nginx to Go client: {min(v):.0f}/{statistics.median(v):.0f}/{max(v):.0f} MiB/s", flush=True)
        o = [float(m) for _ in range(a.rounds) for m in re.findall(r"([\d.]+) connections/user sec", sh(["openssl", "s_time", "-connect", url[8:], "-new", "-time", "2", "-tls1_3"]))]
        if o:
            print(f"TLS 1.3 full handshakes (openssl s_time, per client CPU second): {min(o):.0f}/{statistics.median(o):.0f}/{max(o):.0f}", flush=True)
        for u, c in (("/1k", 1), ("/1k", 64), ("/100k", 16), ("/10m", 8)):
            v = []
            for _ in range(a.rounds):
                t = sh(["wrk", "-t1", f"-c{c}", "-d3s", f"http://{base['origin']}{u}"])
                v.append(float(re.search(r"Requests/sec:\s+([\d.]+)", t)[1]))
            print(f"wrk -c{c} straight at nginx {u}: {min(v):.0f}/{statistics.median(v):.0f}/{max(v):.0f} req/s", flush=True)
        t = [float(re.search(r"Requests/sec:\s+([\d.]+)", sh(["wrk", "-t1", "-c64", "-d3s", url + "/1k"]))[1]) for _ in range(a.rounds)]
        print(f"wrk -c64 straight at nginx /1k over TLS 1.3: {min(t):.0f}/{statistics.median(t):.0f}/{max(t):.0f} req/s", flush=True)
    finally:
        stop(tl)
        for o in org:
            stop(o)


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--bin", default="bin"), ap.add_argument("--work", default="work"), ap.add_argument("--out", default="results.json")
    ap.add_argument("--peers", default=""), ap.add_argument("--adapters", action="append", default=[])
    ap.add_argument("--tests", default="bulk,small,close,hol,mem"), ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--seconds", type=int, default=2), ap.add_argument("--mem", default="1000,9000"), ap.add_argument("--mem-rounds", type=int, default=1)
    ap.add_argument("--base", type=int, default=18000, help="first port used; below the ephemeral range")
    ap.add_argument("--max-foreign", type=float, default=0.15), ap.add_argument("--wait", type=float, default=5)
    ap.add_argument("--drop", type=float, default=1.0, help="--report: leave out samples with more foreign CPU than this"), ap.add_argument("--report"), ap.add_argument("--raw", action="store_true")
    a = ap.parse_args()
    if a.report:
        report(json.loads(Path(a.report).read_text()), a.drop)
    elif a.raw:
        raw(a)
    else:
        measure(a)
