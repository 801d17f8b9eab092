//! The commands that both programs have: checking and showing a configuration, and telling of the
//! program itself.

mod print;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Command, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;
use serde_json::{Value, json};
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::layers::{Inputs, Loaded};
use super::problem::Problems;
use super::schema::schema;
use super::settings::{Settings, Violation};
use crate::build_info::{BUILD_DATE, GIT_COMMIT, RUSTC, VERSION};

/// A name that is not found by then is not found by the program either.
const LOOKUP: Duration = Duration::from_secs(5);

/// What a configuration without a problem is told (the contract's "Schema Validation").
const VALID: &str = "\
✓ Configuration is valid
✓ All required fields present
✓ All values within acceptable ranges
";

/// A command that both programs have.
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigCommand {
    /// Check the configuration, and say everything that is wrong with it
    Validate {
        /// Also check that the files it names are there and usable, and that the gateway's host is found
        #[arg(long)]
        strict: bool,
        /// Print one JSON value
        #[arg(long)]
        json: bool,
    },
    /// Show the configuration, or its schema
    #[command(subcommand)]
    Config(Show),
    /// Print the version, and which build this is
    Version {
        /// How to print it
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        output: Format,
    },
    /// Print a script that lets a shell complete this program's arguments
    Completions {
        /// For which shell
        shell: Shell,
    },
    /// Print the manual page, or write those of all commands
    Man {
        /// Write a page for each command into this folder
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

/// What of the configuration is shown.
#[derive(Debug, Clone, Subcommand)]
pub enum Show {
    /// Print every value in force, and where it comes from; secrets are not shown
    Print {
        /// How to print it
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        output: Format,
    },
    /// Print the JSON Schema of the file, for editors
    Schema,
}

/// How a command shows its result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON value
    Json,
}

/// What a command has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// For standard output.
    pub out: String,
    /// For standard error.
    pub err: String,
    /// Whether all is well: exit code 0, else 1.
    pub success: bool,
}

impl Answer {
    fn good(out: impl Into<String>) -> Self {
        Self {
            out: out.into(),
            err: String::new(),
            success: true,
        }
    }

    fn json(value: &Value) -> Self {
        Self::good(format!("{value:#}\n"))
    }

    /// Writes it, and says how the program ends.
    ///
    /// # Errors
    /// Those of the writers, such as a closed pipe.
    pub fn write_to(&self, mut out: impl Write, mut err: impl Write) -> io::Result<ExitCode> {
        err.write_all(self.err.as_bytes())?;
        out.write_all(self.out.as_bytes())?;
        out.flush()?;
        Ok(ExitCode::from(u8::from(!self.success)))
    }
}

impl ConfigCommand {
    /// Runs the command; `program` is what clap parses.
    ///
    /// # Errors
    /// That pages can not be written.
    pub async fn run<T: Settings>(&self, inputs: &Inputs, program: Command) -> io::Result<Answer> {
        Ok(match self {
            Self::Validate { strict, json } => validate::<T>(inputs, *strict, *json).await,
            Self::Config(Show::Print { output }) => match inputs.load::<T>() {
                Ok(loaded) => print::print(&loaded, *output),
                Err(problems) => bad(&problems, *output == Format::Json),
            },
            Self::Config(Show::Schema) => Answer::json(&schema::<T>()),
            Self::Version { output } => version(T::PROGRAM, *output),
            Self::Completions { shell } => {
                let (mut program, mut script) = (program, Vec::new());
                clap_complete::generate(*shell, &mut program, T::PROGRAM, &mut script);
                Answer::good(String::from_utf8_lossy(&script))
            }
            Self::Man { dir: None } => {
                let mut page = Vec::new();
                Man::new(program).render(&mut page)?;
                Answer::good(String::from_utf8_lossy(&page))
            }
            Self::Man { dir: Some(dir) } => {
                std::fs::create_dir_all(dir)?;
                clap_mangen::generate_to(program, dir)?;
                Answer::good("")
            }
        })
    }
}

fn version(program: &str, output: Format) -> Answer {
    match output {
        Format::Text => Answer::good(format!(
            "{program} {VERSION} (commit {GIT_COMMIT}, built {BUILD_DATE} by {RUSTC})\n"
        )),
        Format::Json => Answer::json(&json!({
            "version": VERSION,
            "git_commit": GIT_COMMIT,
            "build_date": BUILD_DATE,
            "rustc": RUSTC,
        })),
    }
}

async fn validate<T: Settings>(inputs: &Inputs, strict: bool, json: bool) -> Answer {
    match checked::<T>(inputs, strict).await {
        Ok(()) if json => Answer::json(&json!({"valid": true})),
        Ok(()) => Answer::good(VALID),
        Err(problems) => bad(&problems, json),
    }
}

fn bad(problems: &Problems, json: bool) -> Answer {
    let (out, err) = if json {
        (format!("{:#}\n", problems.to_json()), String::new())
    } else {
        (String::new(), format!("{problems}\n"))
    };
    Answer {
        out,
        err,
        success: false,
    }
}

async fn checked<T: Settings>(inputs: &Inputs, strict: bool) -> Result<(), Problems> {
    let loaded = inputs.load::<T>()?;
    let mut violations = loaded.config.violations();
    if strict {
        violations.extend(loaded.config.bad_files());
        violations.extend(not_found(&loaded).await);
    }
    loaded.place(violations)
}

/// What is wrong with the name of the other side.
async fn not_found<T: Settings>(loaded: &Loaded<T>) -> Option<Violation> {
    let (path, host, port) = loaded.config.remote()?;
    let found = timeout(LOOKUP, lookup_host((host.as_str(), port))).await;
    let reason = match found.map(|answer| answer.map(Iterator::count)) {
        Ok(Ok(0)) => format!("the host '{host}' has no address"),
        Ok(Ok(_)) => return None,
        Ok(Err(error)) => format!("the host '{host}' is not found: {error}"),
        Err(_) => format!(
            "the host '{host}' is not found within {} s",
            LOOKUP.as_secs()
        ),
    };
    Some(Violation::new(path, reason).help("check the name, and the name servers of this machine"))
}
