//! What processes have used so far, from `/proc`.

use std::collections::HashMap;
use std::{fs, io};

use rustix::process::{Pid, Signal};
use tokio::time::Instant;

/// What `/proc/PID/stat` says of one process.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stat {
    parent: u32,
    /// CPU-seconds of its own.
    own: f64,
    /// CPU-seconds of children that it has waited for.
    reaped: f64,
    started: u64,
    rss: f64,
}

/// All processes at one moment.
#[derive(Debug)]
pub(crate) struct Table {
    at: Instant,
    /// CPU-seconds of the whole machine, idle time and interrupts left out.
    busy: f64,
    all: HashMap<u32, Stat>,
}

impl Table {
    /// Reads `/proc`.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn read() -> io::Result<Self> {
        let mut all = HashMap::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // It may have ended meanwhile.
            let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if let Some(stat) = parse(&text) {
                all.insert(pid, stat);
            }
        }
        Ok(Self {
            at: Instant::now(),
            busy: busy(&fs::read_to_string("/proc/stat")?),
            all,
        })
    }

    /// All processes.
    pub(crate) fn pids(&self) -> impl Iterator<Item = u32> {
        self.all.keys().copied()
    }

    /// When a process was started, in ticks since boot: with its id this names it for ever.
    pub(crate) fn started(&self, pid: u32) -> Option<u64> {
        self.all.get(&pid).map(|stat| stat.started)
    }

    /// A process and all below it.
    pub(crate) fn tree(&self, root: u32) -> Vec<u32> {
        let mut found = Vec::new();
        let mut next = vec![root];
        while let Some(pid) = next.pop() {
            if self.all.contains_key(&pid) && !found.contains(&pid) {
                found.push(pid);
                let children = self.all.iter().filter(|(_, stat)| stat.parent == pid);
                next.extend(children.map(|(child, _)| *child));
            }
        }
        found
    }

    /// CPU-seconds of this process alone.
    pub(crate) fn own_cpu(&self, pid: u32) -> f64 {
        self.all.get(&pid).map_or(0.0, |stat| stat.own)
    }

    /// CPU-seconds of a process and all below it, ended ones included.
    pub(crate) fn cpu(&self, root: u32) -> f64 {
        self.sum(root, |stat| stat.own + stat.reaped)
    }

    /// Resident bytes of a process and all below it.
    pub(crate) fn rss(&self, root: u32) -> f64 {
        self.sum(root, |stat| stat.rss)
    }

    fn sum(&self, root: u32, what: impl Fn(&Stat) -> f64) -> f64 {
        let tree = self.tree(root);
        tree.iter()
            .filter_map(|pid| self.all.get(pid))
            .map(what)
            .sum()
    }

    /// Seconds since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> f64 {
        self.at.duration_since(earlier.at).as_secs_f64()
    }

    /// The share of the machine's CPU time that went to processes outside our own tree.
    pub(crate) fn foreign(&self, earlier: &Self) -> f64 {
        let me = std::process::id();
        let busy = self.busy - earlier.busy;
        let ours = self.cpu(me) - earlier.cpu(me);
        let all = self.since(earlier) * cores();
        ((busy - ours) / all.max(1e-9)).clamp(0.0, 1.0)
    }

    /// Signals a process and all below it; those that have ended are passed over.
    pub(crate) fn kill_tree(&self, root: u32, signal: Signal) {
        for pid in self.tree(root) {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            if let Some(pid) = pid {
                rustix::process::kill_process(pid, signal).unwrap_or_default();
            }
        }
    }
}

/// Cores of this machine that we may use.
pub(crate) fn cores() -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    f64::from(u32::try_from(cores).unwrap_or(1))
}

/// Descriptors that a process has open.
pub(crate) fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

fn ticks(count: f64) -> f64 {
    let per_second = u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100);
    count / f64::from(per_second)
}

fn parse(text: &str) -> Option<Stat> {
    // The name, in parentheses, may hold anything.
    let (_, fields) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let number = |index: usize| fields.get(index)?.parse::<f64>().ok();
    let page = u32::try_from(rustix::param::page_size()).unwrap_or(4096);
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        own: ticks(number(11)? + number(12)?),
        reaped: ticks(number(13)? + number(14)?),
        started: fields.get(19)?.parse().ok()?,
        rss: number(21)? * f64::from(page),
    })
}

/// user, nice, system and steal of the first line of `/proc/stat`.
fn busy(text: &str) -> f64 {
    let first = text.lines().next().unwrap_or_default();
    let all: Vec<f64> = first
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let of = |index: usize| all.get(index).copied().unwrap_or_default();
    ticks(of(0) + of(1) + of(2) + of(7))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_is_no_field() {
        let line = "7 (a ) b) S 3 0 0 0 0 0 0 0 0 0 100 50 20 10 0 0 1 0 4242 9 2 0";
        let stat = parse(line).unwrap();
        assert_eq!((stat.parent, stat.started), (3, 4242));
        let per_second = ticks(1.0);
        assert!((stat.own - 150.0 * per_second).abs() < 1e-9);
        assert!((stat.reaped - 30.0 * per_second).abs() < 1e-9);
        assert!(stat.rss > 0.0);
        assert_eq!(parse("garbage"), None);
    }

    #[test]
    fn the_machine_is_busy_without_idle_time_and_interrupts() {
        let busy = busy("cpu  1 2 4 1000 1000 1000 1000 8 0 0\ncpu0 9 9");
        assert!((busy - ticks(15.0)).abs() < 1e-9);
    }

    #[test]
    fn a_tree_holds_this_process_and_its_child_and_no_other() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let table = Table::read().unwrap();
        let tree = table.tree(std::process::id());
        assert!(tree.contains(&child.id()) && !tree.contains(&1));
        assert!(table.rss(std::process::id()) > 1e6);
        table.kill_tree(child.id(), Signal::KILL);
        child.wait().unwrap();
    }
}
