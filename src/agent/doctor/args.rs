//! The command line of `doctor`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::config::Period;

/// How the doctor looks, and what it writes.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DoctorArgs {
    /// A table for people, or one JSON value
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
    /// Also write a ZIP for a support ticket: what was found, the configuration without secrets, and
    /// what the agent on this machine says of itself
    #[arg(long, value_name = "FILE.zip")]
    pub bundle: Option<PathBuf>,
    /// How long each step of a check may take
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub timeout: Period,
}

/// How the findings are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON value.
    Json,
}
