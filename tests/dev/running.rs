//! A `pipeops-dev` under test: started with a state folder of its own, ended with the test.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

/// Long for a start of milliseconds: other tests may have the processors.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program, and what it printed.
pub(crate) struct Running {
    child: Child,
    /// Standard output up to its last line.
    pub(crate) printed: String,
}

impl Running {
    /// Starts it and waits until it has printed everything.
    pub(crate) fn start(state: &Path, args: &[&str]) -> Self {
        let mut child = command(state, args).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        let mut running = Self {
            child,
            printed: String::new(),
        };
        let end = Instant::now() + PATIENCE;
        while !running.printed.contains("Ctrl-C ends it.") {
            let line = lines.recv_timeout(end.saturating_duration_since(Instant::now()));
            let Ok(line) = line else {
                panic!("it printed no more than\n{}", running.printed)
            };
            running.printed.push_str(&line);
            running.printed.push('\n');
        }
        running
    }

    /// The printed curl line that has all of `parts`.
    pub(crate) fn line(&self, parts: &[&str]) -> &str {
        let fits =
            |line: &&str| line.starts_with("curl ") && parts.iter().all(|part| line.contains(part));
        self.printed
            .lines()
            .find(fits)
            .unwrap_or_else(|| panic!("no line with {parts:?} in\n{}", self.printed))
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it does not end");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The program with its state in `state`, without the environment's say.
pub(crate) fn command(state: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipeops-dev"));
    command
        .args(args)
        .arg("--state-dir")
        .arg(state)
        .env_remove("LOG_LEVEL")
        .env_remove("LOG_FORMAT");
    command
}

/// Runs a line as it would be pasted.
pub(crate) fn bash(line: &str) -> Output {
    Command::new("timeout")
        .args(["120", "bash", "-c", line])
        .output()
        .unwrap()
}

/// Standard output of a line that must succeed.
pub(crate) fn pasted(line: &str) -> String {
    let output = bash(line);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}\n{}\n{said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
