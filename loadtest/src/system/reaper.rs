//! Ends what this program leaves behind, however it ends: a second process that does nothing but
//! wait for our end of a pipe to close.

use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use super::usage::Table;

/// The variable that each program is started with: the folder of our run. So one is found, too, that was started in the
/// very moment before our end, and that the reaper has not been told of.
pub(crate) const MARK: &str = "LOADTEST_RUN";

/// Between its fork and its exec a process has our own variables; that is over after this.
const BEGUN: Duration = Duration::from_millis(200);

/// The process that cleans up after us.
#[derive(Debug)]
pub(crate) struct Reaper {
    _child: Child,
    pids: Mutex<ChildStdin>,
}

impl Reaper {
    /// Starts it; `dir` is removed at the end.
    ///
    /// # Errors
    /// When this program can not be started a second time.
    pub(crate) fn start(dir: &Path) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("reap").arg("--dir").arg(dir);
        // A group of its own: Ctrl-C must not reach it before its work is done.
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn()?;
        let pids = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self {
            _child: child,
            pids: Mutex::new(pids),
        })
    }

    /// Has `pid`, and what it starts, killed when this program has ended.
    ///
    /// # Errors
    /// When the reaper is gone.
    pub(crate) fn watch(&self, pid: u32) -> io::Result<()> {
        let Some(started) = Table::read()?.started(pid) else {
            return Ok(()); // it has ended already
        };
        let mut pids = self.pids.lock().unwrap_or_else(|e| e.into_inner());
        writeln!(pids, "{pid} {started}")
    }
}

/// What the reaper does: reads `PID START` lines until the end, then kills those that still are
/// what they were.
///
/// # Errors
/// When `/proc` can not be read.
pub(crate) fn run(dir: Option<&Path>) -> io::Result<()> {
    let mut watched = Vec::new();
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let mut numbers = line.split(' ').map_while(|word| word.parse::<u64>().ok());
        if let (Some(pid), Some(started)) = (numbers.next(), numbers.next()) {
            watched.push((u32::try_from(pid).unwrap_or_default(), started));
        }
    }
    let table = Table::read()?;
    for (pid, started) in watched {
        if table.started(pid) == Some(started) {
            table.kill_tree(pid, rustix::process::Signal::KILL);
        }
    }
    if let Some(dir) = dir {
        // One that was just being started has its variables now.
        std::thread::sleep(BEGUN);
        let table = Table::read()?;
        for pid in table.pids().filter(|pid| is_marked(*pid, dir)) {
            table.kill_tree(pid, rustix::process::Signal::KILL);
        }
        // It is gone already where everything ended as it should.
        drop(std::fs::remove_dir_all(dir));
    }
    Ok(())
}

/// Whether a process was started by the run with this folder. Another user's says nothing.
fn is_marked(pid: u32, dir: &Path) -> bool {
    let variables = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let mark = format!("{MARK}={}", dir.display());
    variables
        .split(|byte| *byte == 0)
        .any(|variable| variable == mark.as_bytes())
}
