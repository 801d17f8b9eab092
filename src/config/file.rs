//! The configuration file: its text, its tree, and which parts of it may be shown.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};

use serde_json::Value as Schema;

use super::check::Finding;
use super::problem::{Excerpt, Problem, Problems};
use super::schema::{child, is_secret, names};
use super::tree::{Mark, Node, Origin, Path, Value};
use super::yaml::{self, SyntaxError};

/// Largest configuration file that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// Characters of a line that are shown.
const WIDTH: usize = 100;

/// What stands for what is not shown.
const MASK: &str = "***";

/// A file that has been read.
#[derive(Clone)]
pub(super) struct Source {
    path: PathBuf,
    text: String,
    /// Bytes that are never shown: secrets, and what nobody knows not to be one.
    masks: Vec<Range<usize>>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.path).finish()
    }
}

/// Reads a file's bytes, not more than any configuration has.
pub(super) fn read(path: &FilePath) -> Result<Vec<u8>, Problems> {
    let failed = |reason: String| {
        Problems::from(Problem {
            file: Some(path.to_owned()),
            ..Problem::new(&Path::default(), reason, None)
        })
    };
    let unreadable = |error: std::io::Error| failed(format!("can not read the file: {error}"));
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(failed(format!(
            "the file has more than {MAX_FILE} bytes, which no configuration needs"
        )));
    }
    Ok(bytes)
}

impl Source {
    /// Reads and parses a file.
    pub(super) fn load(path: &FilePath, schema: &Schema) -> Result<(Self, Node), Problems> {
        let mut source = Self {
            path: path.to_owned(),
            text: String::new(),
            masks: Vec::new(),
        };
        match String::from_utf8(read(path)?) {
            Ok(text) => source.text = text,
            Err(error) => return Err(source.not_utf8(&error).into()),
        }
        let mut tree = match yaml::parse(&source.text, &Origin::File) {
            Ok(tree) => tree,
            Err(error) => return Err(source.syntax(error, schema).into()),
        };
        mask(Some(schema), &tree, &mut source.masks);
        source.masks = joined(std::mem::take(&mut source.masks));
        if matches!(tree.value, Value::Null) {
            tree.value = Value::Map(BTreeMap::new());
        }
        if !matches!(tree.value, Value::Map(_)) {
            let finding = Finding {
                path: Path::default(),
                origin: tree.origin,
                reason: "a configuration is a map of settings, such as `log: {level: debug}`"
                    .into(),
                help: None,
            };
            return Err(source.problem(finding).into());
        }
        Ok((source, tree))
    }

    pub(super) fn path(&self) -> &FilePath {
        &self.path
    }

    fn not_utf8(&self, error: &std::string::FromUtf8Error) -> Problem {
        let at = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..at).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let start = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        let reason = "the file is not UTF-8 from here on".to_owned();
        Problem {
            file: Some(self.path.clone()),
            line: Some(line),
            column: Some(
                1 + String::from_utf8_lossy(before.get(start..).unwrap_or_default())
                    .chars()
                    .count(),
            ),
            ..Problem::new(&Path::default(), reason, None)
        }
    }

    fn syntax(&mut self, error: SyntaxError, schema: &Schema) -> Problem {
        let line = self.line(error.at.bytes.start);
        if let Some(text) = self.text.get(line.clone()) {
            self.masks = guess(text, line.start, schema);
        }
        let finding = Finding {
            path: Path::default(),
            origin: Origin::File(error.at),
            reason: error.reason,
            help: error.help,
        };
        self.problem(finding)
    }

    /// A finding in this file as a problem.
    pub(super) fn problem(&self, finding: Finding) -> Problem {
        let mark = finding.origin.mark().cloned();
        let problem = Problem::of(finding);
        match mark {
            Some(mark) => Problem {
                file: Some(self.path.clone()),
                line: Some(mark.line),
                column: Some(mark.column),
                excerpt: self.excerpt(&mark),
                ..problem
            },
            None => problem,
        }
    }

    /// The bytes of the line that this byte is in.
    fn line(&self, at: usize) -> Range<usize> {
        let (before, after) = self.text.split_at_checked(at).unwrap_or((&self.text, ""));
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        start..after.find('\n').map_or(self.text.len(), |end| at + end)
    }

    fn excerpt(&self, mark: &Mark) -> Option<Excerpt> {
        let line = self.line(mark.bytes.start);
        let mut masks = self.masks.iter().peekable();
        let mut shown = Shown::default();
        for (offset, character) in self.text.get(line.clone())?.char_indices() {
            let at = line.start + offset;
            while masks.next_if(|mask| mask.end <= at).is_some() {}
            let masked = masks.peek().is_some_and(|mask| mask.contains(&at));
            shown.push(
                character,
                masked,
                mark.bytes.contains(&at),
                at < mark.bytes.start,
            );
        }
        shown.excerpt()
    }
}

/// A line on its way to the screen.
#[derive(Default)]
struct Shown {
    text: Vec<char>,
    in_mask: bool,
    before: usize,
    length: usize,
}

impl Shown {
    fn push(&mut self, character: char, masked: bool, meant: bool, before: bool) {
        let repeated = masked && self.in_mask;
        self.in_mask = masked;
        let added: Vec<char> = if repeated {
            return;
        } else if masked {
            MASK.chars().collect()
        } else if character.is_control() {
            // A tab would move the carets, an escape sequence more than that.
            vec![' ']
        } else {
            vec![character]
        };
        if before {
            self.before += added.len();
        } else if meant {
            self.length += added.len();
        }
        self.text.extend(added);
    }

    fn excerpt(self) -> Option<Excerpt> {
        let end = self.text.iter().rposition(|c| *c != ' ')? + 1;
        let text = self.text.get(..end)?;
        let from = (self.before + 20).saturating_sub(WIDTH).min(self.before);
        let cut: String = text.iter().skip(from).take(WIDTH).collect();
        let before = self.before - from;
        let most = cut.chars().count().saturating_sub(before).max(1);
        Some(Excerpt {
            text: cut,
            before,
            length: self.length.clamp(1, most),
        })
    }
}

/// Marks every value that is not known to be for showing: secrets, what stands at keys that are not
/// known, or where no single value belongs, and URLs with a name or password in them.
fn mask(schema: Option<&Schema>, node: &Node, masks: &mut Vec<Range<usize>>) {
    let schema = schema.filter(|schema| !is_secret(schema));
    match &node.value {
        Value::Map(map) => {
            for (key, entry) in map {
                mask(
                    schema.and_then(|schema| child(schema, key)),
                    &entry.node,
                    masks,
                );
            }
        }
        Value::List(items) => {
            for item in items {
                mask(schema.and_then(|schema| schema.get("items")), item, masks);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {
            let is_value = |schema: &&Schema| {
                schema.get("properties").is_none()
                    && schema.get("items").is_none()
                    && !schema["additionalProperties"].is_object()
            };
            if schema.filter(is_value).is_none() || holds_userinfo(&node.value) {
                masks.extend(node.anchored.iter().map(|mark| mark.bytes.clone()));
                if let Origin::File(mark) = &node.origin {
                    masks.push(mark.bytes.clone());
                }
            }
        }
    }
}

/// Whether a URL has a user name or password (RFC 3986, section 3.2.1), which no key takes.
fn holds_userinfo(value: &Value) -> bool {
    let Value::Text(text) = value else {
        return false;
    };
    text.split_once("//").is_some_and(|(_, rest)| {
        let authority = rest.split(['/', '?', '#']).next();
        authority.is_some_and(|authority| authority.contains('@'))
    })
}

/// The same bytes as ranges in their order, none of which overlap.
fn joined(mut masks: Vec<Range<usize>>) -> Vec<Range<usize>> {
    masks.sort_by_key(|mask| mask.start);
    let mut joined: Vec<Range<usize>> = Vec::new();
    for mask in masks {
        match joined.last_mut() {
            Some(last) if mask.start <= last.end => last.end = last.end.max(mask.end),
            _ => joined.push(mask),
        }
    }
    joined
}

/// What to hide of a line that could not be parsed: all but the names of known keys, and
/// everything after that of a secret.
fn guess(line: &str, start: usize, schema: &Schema) -> Vec<Range<usize>> {
    let (known, secret) = names(schema);
    let separates = |c: char| c.is_whitespace() || "{}[],:".contains(c);
    let quotes = |c: char| "\"'-#&*|>!?".contains(c);
    let mut masks = Vec::new();
    let mut from = 0;
    for piece in line.split_inclusive(separates) {
        let word = piece.trim_end_matches(separates);
        let name = word.trim_matches(quotes);
        let at = start + from;
        if secret.contains(name) {
            let value = piece.len() + from;
            let blank = line.get(value..).unwrap_or_default();
            let blank = blank.len() - blank.trim_start().len();
            masks.push(start + value + blank..start + line.len());
            break;
        }
        let harmless = known.contains(name) || (name.is_empty() && word.len() <= 3);
        if !harmless {
            masks.push(at..at + word.len());
        }
        from += piece.len();
    }
    masks
}

#[cfg(test)]
#[path = "file/tests.rs"]
mod tests;
