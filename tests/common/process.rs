//! A program that runs beside a test: its output is kept and can be waited
//! for, and it ends when the value is dropped.

use super::{DEADLINE, reaper};
use std::{
    fmt,
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Every line a process wrote so far.
#[derive(Debug, Default)]
struct Lines {
    all: Mutex<Vec<String>>,
    grown: Condvar,
}

impl Lines {
    fn follow(self: &Arc<Self>, from: impl Read + Send + 'static) {
        let lines = Arc::clone(self);
        thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                lines
                    .all
                    .lock()
                    .unwrap()
                    .push(String::from_utf8_lossy(&line).into_owned());
                lines.grown.notify_all();
            }
        });
    }
}

/// What a process wrote, for a failure message; outlives the [`Process`].
#[derive(Debug, Clone)]
pub struct Tail {
    name: String,
    lines: Arc<Lines>,
}

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self
            .lines
            .all
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let last = lines
            .get(lines.len().saturating_sub(40)..)
            .unwrap_or_default();
        write!(
            f,
            "--- {}, last lines ---\n{}\n",
            self.name,
            last.join("\n")
        )
    }
}

/// A running program, killed on drop.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    lines: Arc<Lines>,
}

impl Process {
    /// Starts `command`; what it writes on both outputs is kept as lines.
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.unwrap_or_else(|e| panic!("{name} does not start: {e}"));
        reaper::watch(child.id());
        let lines = Arc::new(Lines::default());
        lines.follow(child.stdout.take().unwrap());
        lines.follow(child.stderr.take().unwrap());
        Self {
            name: name.to_owned(),
            child,
            lines,
        }
    }

    /// Its standard input, where the command asked for a pipe.
    pub fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("a piped stdin, taken once")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `find` answers for a line, those already written included.
    pub fn wait_line<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        let mut seen = 0;
        loop {
            let ended = self.child.try_wait().unwrap(); // before reading: its last lines may still come
            {
                let lines = self.lines.all.lock().unwrap();
                if let Some(found) = lines
                    .get(seen..)
                    .unwrap_or_default()
                    .iter()
                    .find_map(|l| find(l))
                {
                    return found;
                }
                seen = lines.len();
                drop(
                    self.lines
                        .grown
                        .wait_timeout(lines, Duration::from_millis(200))
                        .unwrap(),
                );
            }
            let more = self.lines.all.lock().unwrap().len() > seen;
            assert!(
                more || ended.is_none(),
                "{} ended ({ended:?}) before: {what}\n{}",
                self.name,
                self.tail()
            );
            assert!(
                Instant::now() < end,
                "{} in {DEADLINE:?} showed no sign of: {what}\n{}",
                self.name,
                self.tail()
            );
        }
    }

    /// Waits until a line holds `text`, and answers that line.
    pub fn wait_text(&mut self, text: &str) -> String {
        self.wait_line(text, |line| line.contains(text).then(|| line.to_owned()))
    }

    /// All it wrote so far.
    pub fn output(&self) -> String {
        self.lines
            .all
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .join("\n")
    }

    /// The last lines, to be read in a failure.
    pub fn tail(&self) -> Tail {
        Tail {
            name: self.name.clone(),
            lines: Arc::clone(&self.lines),
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends a signal by name (`TERM`, `KILL`, `STOP` …).
    pub fn signal(&self, name: &str) {
        let done = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.pid())])
            .status()
            .unwrap();
        assert!(done.success(), "cannot send SIG{name} to {}", self.name);
    }

    /// Waits for its end, by itself or after a signal.
    pub fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        let end = Instant::now() + deadline;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < end,
                "{} did not end in {deadline:?}\n{}",
                self.name,
                self.tail()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill()); // it may have ended
        drop(self.child.wait());
    }
}

/// A field of a JSON log line, whether fields stand at the top or under `fields`.
pub fn log_field(line: &str, name: &str) -> Option<String> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let value = line.get(name).or_else(|| line.get("fields")?.get(name))?;
    Some(
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned),
    )
}

/// Matches the JSON log line of this message; for [`Process::wait_line`].
pub fn log_message(message: &str) -> impl Fn(&str) -> Option<String> {
    move |line| (log_field(line, "message")? == message).then(|| line.to_owned())
}
