//! Programs that run beside the load, and end with it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use super::reaper::{MARK, Reaper};
use super::usage::Table;

/// How long a program may take to end by itself after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);

/// Where processes come from: a folder of their files, and the promise that all of them end.
#[derive(Debug, Clone)]
pub(crate) struct Nursery(Rc<(TempDir, Reaper)>);

impl Nursery {
    /// A new folder, removed at the end.
    ///
    /// # Errors
    /// When the folder can not be made, or the reaper not be started.
    pub(crate) fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("loadtest-").tempdir()?;
        let reaper = Reaper::start(dir.path()).context("cannot start the reaper")?;
        Ok(Self(Rc::new((dir, reaper))))
    }

    /// A folder in it, made now.
    ///
    /// # Errors
    /// When it can not be made.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.0.path().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Starts a program; what it writes goes to `NAME.log` in `folder`.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn spawn(
        &self,
        name: &str,
        command: &mut Command,
        folder: &Path,
    ) -> Result<Process> {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log)?;
        command.stdin(Stdio::null());
        command.stdout(file.try_clone()?).stderr(file);
        command.env(MARK, self.0.0.path());
        let program = command.get_program().to_owned();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let process = Process {
            name: name.to_owned(),
            child,
            log,
        };
        self.0.1.watch(process.pid())?;
        Ok(process)
    }
}

/// A running program; it and what it started end when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Its id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails, with the end of its log, when it has ended.
    ///
    /// # Errors
    /// That it has.
    pub(crate) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended ({status}): {}", self.name, self.tail());
        }
        Ok(())
    }

    /// The last lines that it wrote.
    pub(crate) fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let mut last: Vec<_> = text.lines().rev().take(12).collect();
        last.reverse();
        last.join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        for (signal, patience) in [(Signal::TERM, GRACE), (Signal::KILL, GRACE)] {
            if let Ok(table) = Table::read() {
                table.kill_tree(self.pid(), signal);
            }
            for _ in 0..patience.as_millis() / 10 {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}
