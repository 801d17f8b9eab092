//! What the programs' entry points share: signals, exit codes, and how a failure is told.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::signal::unix::{self, SignalKind, signal};

use crate::config::{LogLevelError, Problems};

/// Turns of a runtime's tasks between two looks for what has come from the network; tokio's default is
/// 61. A turn that moves bulk takes some 100 µs, and whoever has just been sent something waits for all
/// of them.
const EVENT_INTERVAL: u32 = 8;

/// Something went wrong while running.
const FAILED: u8 = 1;
/// The arguments or the configuration are not sound; as clap has it.
const USAGE: u8 = 2;

/// Why a program ends without success, and with which exit code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    code: u8,
    /// As it is written on standard error.
    text: String,
}

impl Failure {
    /// Something went wrong: exit code 1.
    #[must_use]
    pub fn failed(error: &(dyn Error + 'static)) -> Self {
        Self {
            code: FAILED,
            text: format!("error: {}", chain(error)),
        }
    }

    /// The arguments or the configuration are not sound: exit code 2.
    #[must_use]
    pub fn usage(error: &(dyn Error + 'static)) -> Self {
        Self {
            code: USAGE,
            text: format!("error: {}", chain(error)),
        }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self {
            code: USAGE,
            text: problems.to_string(),
        }
    }
}

impl From<LogLevelError> for Failure {
    fn from(error: LogLevelError) -> Self {
        Self::usage(&error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::failed(&error)
    }
}

/// An error and its causes in one line. A cause that the message before it tells already is left
/// out.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}

/// The runtime of a thread that moves data.
///
/// # Errors
/// What the system says.
pub fn data_runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build_local(LocalOptions::default())
}

/// Runs a program on this thread, and says on standard error why it failed.
pub fn run(program: impl Future<Output = Result<ExitCode, Failure>>) -> ExitCode {
    let outcome = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let outcome = runtime.block_on(program);
            // What still blocks (a name look-up, a credential plugin) must not delay the end.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(error.into()),
    };
    outcome.unwrap_or_else(|failure| {
        // Where nobody reads standard error, the exit code has to do.
        drop(writeln!(io::stderr(), "{failure}"));
        ExitCode::from(failure.code)
    })
}

/// A signal that asks the program to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: a service manager or Kubernetes.
    Terminate,
}

impl Signal {
    /// 128 and the signal's number, as shells have it.
    #[must_use]
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        })
    }
}

/// The signals that ask the program to end; from when this exists they do nothing by themselves.
#[derive(Debug)]
pub struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    /// Takes the signals over. Needs a runtime.
    ///
    /// # Errors
    /// What the system says; rare.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }

    /// Lets `drain` come to its end (exit code 0), unless another signal comes first (130 or 143).
    pub async fn while_draining(&mut self, drain: impl Future<Output = ()>) -> ExitCode {
        tokio::select! {
            () = drain => ExitCode::SUCCESS,
            signal = self.next() => signal.exit_code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Path, Problem};

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Self>>,
    }

    fn layers(texts: &[&'static str]) -> Layer {
        let (text, rest) = texts.split_first().unwrap();
        let source = (!rest.is_empty()).then(|| Box::new(layers(rest)));
        Layer { text, source }
    }

    #[test]
    fn causes_are_told_once() {
        let error = layers(&["can not listen on :1: in use", "in use", "errno 98"]);
        assert_eq!(chain(&error), "can not listen on :1: in use: errno 98");
        assert_eq!(
            Failure::failed(&layers(&["alone"])).to_string(),
            "error: alone"
        );
    }

    #[test]
    fn a_bad_configuration_is_a_matter_of_usage() {
        let problem = Problem::new(&Path::dotted("tls"), "set it".to_owned(), None);
        let failure = Failure::from(Problems::from(problem));
        assert_eq!(
            (failure.code, failure.text.as_str()),
            (USAGE, "error: tls: set it")
        );
    }
}
