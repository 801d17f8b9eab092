//! What a person sees: a line that says what goes on, and the tables at the end.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the only place of this program that prints"
)]

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::{Instant, interval};
use tokio_util::task::AbortOnDropHandle;

use crate::subject::Running;
use crate::system::usage::Table;

/// How often the line changes.
const TICK: Duration = Duration::from_millis(500);

/// The line, while this lives.
#[derive(Debug)]
pub(crate) struct Progress {
    what: String,
    begun: Instant,
    _ticks: Option<AbortOnDropHandle<()>>,
}

impl Progress {
    /// Begins: `what` is measured of `subject`.
    pub(crate) fn new(what: String, subject: &Running) -> Self {
        let begun = Instant::now();
        let (server, agent) = (subject.server.clone(), subject.agent.clone());
        let shown = what.clone();
        let ticks = stderr().is_terminal().then(|| {
            AbortOnDropHandle::new(spawn_local(async move {
                let mut ticks = interval(TICK);
                let mut before = None;
                loop {
                    ticks.tick().await;
                    let Ok(now) = Table::read() else { return };
                    let busy = before.map(|before| busy(&before, &now, &server, &agent));
                    let seconds = begun.elapsed().as_secs();
                    eprint!("\r\x1b[K{shown}  {seconds} s  {}", busy.unwrap_or_default());
                    drop(stderr().flush()); // nobody may be looking
                    before = Some(now);
                }
            }))
        });
        Self {
            what,
            begun,
            _ticks: ticks,
        }
    }

    /// Ends the line with how it went.
    pub(crate) fn done(self, result: &str) {
        let clear = if stderr().is_terminal() {
            "\r\x1b[K"
        } else {
            ""
        };
        eprintln!(
            "{clear}{}  {:.1} s  {result}",
            self.what,
            self.begun.elapsed().as_secs_f64()
        );
    }
}

/// How busy each side is, in percent of a core, and others, in percent of the machine.
fn busy(before: &Table, now: &Table, server: &[u32], agent: &[u32]) -> String {
    let seconds = now.since(before).max(1e-3);
    let percent = |pids: &[u32]| -> f64 {
        pids.iter()
            .map(|pid| now.cpu(*pid) - before.cpu(*pid))
            .sum::<f64>()
            * 100.0
            / seconds
    };
    let me = std::process::id();
    let load = (now.own_cpu(me) - before.own_cpu(me)) * 100.0 / seconds;
    let others = now.foreign(before) * 100.0;
    format!(
        "server {:.0} %  agent {:.0} %  load {load:.0} %  others {others:.0} %",
        percent(server),
        percent(agent)
    )
}

/// Says something beside the line.
pub(crate) fn say(what: &str) {
    eprintln!("{what}");
}

/// Says why the program ends.
pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

/// The result.
pub(crate) fn print(text: &str) {
    println!("{text}");
}
