//! What is wrong with a configuration, and where: for a person as compilers tell it, and as JSON.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json};

use super::check::Finding;
use super::tree::{Origin, Path};
use crate::wire::error::{ApiError, ErrorCode};

/// More than this many problems are counted and not told.
const MOST: usize = 100;

/// One thing that is wrong. Holds no value of a secret, and none of a key that is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The last name of the path.
    pub field: String,
    /// What is wrong.
    pub reason: String,
    /// The key, as in `tunnel.forwards[1].name`; empty for the configuration as a whole.
    pub path: String,
    /// The file that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The column, from 1, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The environment variable that it is in instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
    /// The flag that it is in instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flag: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    #[serde(skip)]
    pub(super) excerpt: Option<Excerpt>,
}

/// A line of the file as it may be shown, and what in it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Excerpt {
    pub(super) text: String,
    /// Characters before it.
    pub(super) before: usize,
    /// Its length in characters, at least 1.
    pub(super) length: usize,
}

impl Problem {
    /// What is wrong with the key at `path`.
    #[must_use]
    pub fn new(path: &Path, reason: String, help: Option<String>) -> Self {
        Self {
            field: path.field().to_owned(),
            reason,
            path: path.to_string(),
            file: None,
            line: None,
            column: None,
            variable: None,
            flag: None,
            help,
            excerpt: None,
        }
    }

    /// A finding outside of files.
    pub(super) fn of(finding: Finding) -> Self {
        let mut problem = Self::new(&finding.path, finding.reason, finding.help);
        match finding.origin {
            Origin::Default | Origin::File(_) => {}
            Origin::Variable(name) => problem.variable = Some(name),
            Origin::Flag(name) => problem.flag = Some(format!("--{name}")),
        }
        problem
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "error: {}", self.reason)?,
            path => write!(f, "error: {path}: {}", self.reason)?,
        }
        let digits = self.line.map_or(1, |line| line.to_string().len());
        let gutter = " ".repeat(digits);
        if let Some(file) = &self.file {
            write!(f, "\n{gutter}--> {}", file.display())?;
            if let (Some(line), Some(column)) = (self.line, self.column) {
                write!(f, ":{line}:{column}")?;
            }
        }
        if let Some(variable) = &self.variable {
            write!(f, "\n{gutter}--> environment variable {variable}")?;
        }
        if let Some(flag) = &self.flag {
            write!(f, "\n{gutter}--> flag {flag}")?;
        }
        if let (Some(excerpt), Some(line)) = (&self.excerpt, self.line) {
            let (text, indent) = (&excerpt.text, " ".repeat(excerpt.before));
            let carets = "^".repeat(excerpt.length);
            write!(
                f,
                "\n{gutter} |\n{line} | {text}\n{gutter} | {indent}{carets}"
            )?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n{gutter} = help: {help}")?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a configuration: at least one problem, in the order of their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    more: usize,
}

impl Problems {
    /// Fine, or these findings, of which only those that will be told are worked out.
    pub(super) fn of(
        mut findings: Vec<Finding>,
        problem: impl Fn(Finding) -> Problem,
    ) -> Result<(), Self> {
        if findings.is_empty() {
            return Ok(());
        }
        findings.sort_by(|a, b| a.order().cmp(&b.order()));
        let more = findings.len().saturating_sub(MOST);
        let list = findings.into_iter().take(MOST).map(problem).collect();
        Err(Self { list, more })
    }

    /// The problems, at most a hundred.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// The contract's error, of the first problem, with all of them in `details.problems`.
    #[must_use]
    pub fn to_api_error(&self) -> ApiError {
        let first = self.list.first();
        let field = first.map_or("", |problem| problem.field.as_str());
        let named = if field.is_empty() {
            "configuration".to_owned()
        } else {
            field.replace('_', " ")
        };
        let error = ApiError::new(ErrorCode::InvalidRequest, format!("Invalid {named}"));
        let details = serde_json::to_value(first).unwrap_or_default();
        let details = details.as_object().cloned().unwrap_or_default();
        ApiError { details, ..error }.with_detail("problems", json!(self.list))
    }

    /// That error as the contract's JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::from_slice(&crate::http::error::body(&self.to_api_error(), false))
            .unwrap_or_default()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self {
            list: vec![problem],
            more: 0,
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.list.iter().enumerate() {
            if at > 0 {
                f.write_str("\n\n")?;
            }
            problem.fmt(f)?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n\nerror: and {more} more problems"),
        }
    }
}

impl Error for Problems {}
