//! The operator's commands: what clap parses, and what runs it.
//!
//! A command returns its [`Output`]; only bins write it. Standard output carries the result alone, so that it can be
//! piped; hints go to standard error.

mod expiry;
pub mod forward;
pub mod kubeconfig;
pub mod store;
mod table;
pub mod token;

pub use expiry::{Expiry, ExpiryError};

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

use super::operator::OperatorError;
use super::store::{BackupError, BackupFault, RestoreError, StoreError};
use crate::wire::token::TokenFormatError;

/// How a command shows its result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON value.
    Json,
}

/// What a command has to say.
pub struct Output {
    /// For standard output; may hold a secret.
    pub result: SecretString,
    /// Lines for standard error; never a secret.
    pub hints: Vec<String>,
}

impl Output {
    fn new(result: impl Into<String>) -> Self {
        Self {
            result: SecretString::from(result.into()),
            hints: Vec::new(),
        }
    }

    fn hint(mut self, line: impl Into<String>) -> Self {
        self.hints.push(line.into());
        self
    }

    /// Writes the hints and then the result, each with a line end.
    ///
    /// # Errors
    /// Those of the writers, such as a closed pipe.
    pub fn write_to(&self, mut out: impl Write, mut err: impl Write) -> io::Result<()> {
        for line in &self.hints {
            writeln!(err, "{line}")?;
        }
        let result = self.result.expose_secret();
        if !result.is_empty() {
            writeln!(out, "{}", result.trim_end_matches('\n'))?;
        }
        out.flush()
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("hints", &self.hints)
            .finish_non_exhaustive()
    }
}

/// Why a command failed. The messages are for the terminal.
#[derive(Debug, Error)]
pub enum CliError {
    /// The gateway or the store said no.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// A result that can't be shown as JSON: a defect of this program.
    #[error("cannot show the result as JSON; please report this")]
    Json(#[from] serde_json::Error),
    /// A file can't be read or written.
    #[error("cannot use {}: check its directory and permissions", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The token file holds no token.
    #[error("{} holds no token", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; never the text itself.
        source: TokenFormatError,
    },
    /// The token file holds an agent's token.
    #[error(
        "{} holds an agent's token, which is for an agent alone: make one with token create user", path.display()
    )]
    AgentToken {
        /// The file.
        path: PathBuf,
    },
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No backup was made.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// What was written is not what was to be written.
    #[error("the backup {} did not come out whole: check the disk, and try again", path.display())]
    BackupFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: BackupFault,
    },
    /// Nothing was restored.
    #[error("{path} was not restored")]
    Restore {
        /// The backup.
        path: String,
        /// Why not.
        source: RestoreError,
    },
    /// The gateway has the store.
    #[error(
        "the gateway with the state directory {} runs: stop it first, then {what}; store backup works while it runs",
        state_dir.display()
    )]
    Running {
        /// Where.
        state_dir: PathBuf,
        /// What was to be done.
        what: &'static str,
    },
    /// The store is not sound.
    #[error("{} is not sound: restore a backup, or ask for help\n  {problems}", path.display())]
    Unsound {
        /// The file.
        path: PathBuf,
        /// What is wrong, a line for each.
        problems: String,
    },
    /// The date is beyond the calendar.
    #[error("--expires is too far away: choose a shorter time, or never")]
    TooLate,
}
