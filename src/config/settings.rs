//! What a program says of its configuration: where it is read from, and what names its keys have.

use std::fmt;
use std::path::Path as FilePath;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::LogConfig;
use super::check::Finding;
use super::problem::{Problem, Problems};
use super::tree::{Origin, Path};

/// A program's whole configuration. Its types are the only source of keys, defaults, schema,
/// reference page and validation.
pub trait Settings:
    Clone + Default + Serialize + DeserializeOwned + JsonSchema + fmt::Debug + Send + Sync + 'static
{
    /// The program's name.
    const PROGRAM: &'static str;
    /// Read when no file is named: the first that exists.
    const FILES: &'static [&'static str];
    /// The variable that names the file; the flag is `--config`.
    const FILE_VARIABLE: &'static str;
    /// Keys that have a variable or a flag of their own.
    const NAMED: &'static [Named];
    /// Keys that take each other's place.
    const ALTERNATIVES: &'static [Ways];
    /// Keys, and sections, that change without a restart.
    const LIVE: &'static [&'static str];

    /// How it logs.
    fn log(&self) -> &LogConfig;

    /// What is wrong that no single value shows.
    fn violations(&self) -> Vec<Violation>;

    /// What is wrong with the files that it names: those that are missing, or not what they should
    /// be. Reads them.
    fn bad_files(&self) -> Vec<Violation>;

    /// The host and port that have to be found, and the key that names them.
    fn remote(&self) -> Option<(Path, String, u16)>;

    /// Checks a configuration that was made by a program.
    ///
    /// # Errors
    /// Everything that [`Settings::violations`] finds.
    fn validate(&self) -> Result<(), Problems> {
        let findings = self.violations().into_iter();
        let findings = findings.map(|violation| violation.at(Origin::Default));
        Problems::of(findings.collect(), Problem::of)
    }
}

/// Ways to say the same: each is some keys. A layer that uses one of them sets aside what the layers
/// below it say by the others.
pub type Ways = &'static [&'static [&'static str]];

/// A key that has a variable or a flag of its own, beside the rule that reaches all keys.
#[derive(Debug, Clone, Copy)]
pub struct Named {
    /// The key.
    pub path: &'static str,
    /// The variable.
    pub variable: Option<&'static str>,
    /// The flag.
    pub flag: Option<Flag>,
}

/// A flag that sets a key.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Without dashes before it.
    pub name: &'static str,
    /// What its value is called in the help; `BOOL` may be left out.
    pub value: &'static str,
    /// What it does, in a line.
    pub help: &'static str,
    /// Whether commands take it too.
    pub global: bool,
}

/// A value that does not go with the others, or with the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The key.
    pub path: Path,
    /// What is wrong; never a secret.
    pub reason: String,
    /// What to do.
    pub help: Option<String>,
}

impl Violation {
    /// What is wrong with the key at `path`.
    #[must_use]
    pub fn new(path: Path, reason: impl Into<String>) -> Self {
        Self {
            path,
            reason: reason.into(),
            help: None,
        }
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn at(self, origin: Origin) -> Finding {
        Finding {
            path: self.path,
            origin,
            reason: self.reason,
            help: self.help,
        }
    }

    /// What is wrong with a file that can not be read, or not as what it should be.
    #[must_use]
    pub fn file(path: Path, file: &FilePath, error: &dyn fmt::Display) -> Self {
        Self::new(path, format!("{}: {error}", file.display()))
    }
}

impl Named {
    /// A key with a variable and a flag.
    #[must_use]
    pub const fn both(path: &'static str, variable: &'static str, flag: Flag) -> Self {
        Self {
            path,
            variable: Some(variable),
            flag: Some(flag),
        }
    }

    /// A key with a variable.
    #[must_use]
    pub const fn variable(path: &'static str, variable: &'static str) -> Self {
        Self {
            path,
            variable: Some(variable),
            flag: None,
        }
    }

    /// A key with a flag.
    #[must_use]
    pub const fn flag(path: &'static str, flag: Flag) -> Self {
        Self {
            path,
            variable: None,
            flag: Some(flag),
        }
    }
}

impl Flag {
    /// A flag for running the program.
    #[must_use]
    pub const fn new(name: &'static str, value: &'static str, help: &'static str) -> Self {
        Self {
            name,
            value,
            help,
            global: false,
        }
    }

    /// Lets commands take it too.
    #[must_use]
    pub const fn global(self) -> Self {
        Self {
            global: true,
            ..self
        }
    }
}

/// `log.level` of both programs.
pub const LOG_LEVEL: Named = Named::both(
    "log.level",
    "LOG_LEVEL",
    Flag::new(
        "log-level",
        "LEVEL",
        "error, warn, info, debug, trace, or a filter such as info,pipeops_tunnel::mux=debug",
    )
    .global(),
);

/// `log.format` of both programs.
pub const LOG_FORMAT: Named = Named::both(
    "log.format",
    "LOG_FORMAT",
    Flag::new("log-format", "FORMAT", "text or json, on standard error").global(),
);

/// `admin.listen` of both programs.
pub const ADMIN_LISTEN: Named = Named::flag(
    "admin.listen",
    Flag::new(
        "admin-listen",
        "ADDR:PORT",
        "Where probes, /info and /config are served; :PORT is loopback, and in a pod every address",
    ),
);

/// `monitoring.prometheus.listen` of both programs.
pub const METRICS_LISTEN: Named = Named::flag(
    "monitoring.prometheus.listen",
    Flag::new("metrics-listen", "ADDR:PORT", "Where /metrics is served"),
);

/// `monitoring.enabled` of both programs.
pub const MONITORING_ENABLED: Named = Named::variable("monitoring.enabled", "MONITORING_ENABLED");

/// The token of the `admin` section, of both programs.
pub const ADMIN_TOKEN: Ways = &[&["admin.token"], &["admin.token_file"]];
