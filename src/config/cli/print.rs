//! The configuration in force, with the origin of each value.

use std::path::Path as FilePath;

use serde_json::{Map, Value, json};

use super::{Answer, Format};
use crate::config::layers::Loaded;
use crate::config::settings::Settings;
use crate::config::tree::{Origin, Path, Value as Plain};
use crate::config::yaml::plain;

/// Shows a configuration. Secrets are redacted by their type.
pub(super) fn print<T: Settings>(loaded: &Loaded<T>, format: Format) -> Answer {
    let value = serde_json::to_value(&loaded.config).unwrap_or_default();
    let mut printer = Printer {
        loaded,
        lines: Vec::new(),
        json: Map::new(),
    };
    printer.value(&value, &Path::default(), Lead::default());
    match format {
        Format::Json => Answer::json(&Value::Object(printer.json)),
        Format::Text => Answer::good(printer.text()),
    }
}

struct Printer<'a, T> {
    loaded: &'a Loaded<T>,
    /// Each line of YAML, and the origin of the value on it.
    lines: Vec<(String, String)>,
    json: Map<String, Value>,
}

/// What stands before a value.
#[derive(Clone, Default)]
struct Lead {
    indent: usize,
    /// Written already on the value's first line: `- `, `key:`.
    text: String,
}

impl<T: Settings> Printer<'_, T> {
    fn value(&mut self, value: &Value, path: &Path, lead: Lead) {
        match value {
            Value::Object(map) if !map.is_empty() => self.map(map, path, lead),
            Value::Array(items) if !items.is_empty() => {
                if !lead.text.is_empty() {
                    self.line(&lead, "", String::new());
                }
                for (at, item) in items.iter().enumerate() {
                    let lead = Lead {
                        indent: lead.indent,
                        text: "- ".to_owned(),
                    };
                    self.value(item, &path.index(at), lead);
                }
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => {
                let origin = self.loaded.tree.get(path).map(|node| &node.origin);
                let origin = origin.unwrap_or(&Origin::Default);
                let file = self.loaded.file();
                self.line(&lead, &yaml(value), shown(origin, file));
                let entry = json!({"value": value, "origin": as_json(origin, file)});
                self.json.insert(path.to_string(), entry);
            }
        }
    }

    fn map(&mut self, map: &Map<String, Value>, path: &Path, mut lead: Lead) {
        let in_list = lead.text == "- ";
        if !in_list && !lead.text.is_empty() {
            self.line(&lead, "", String::new());
        }
        let inner = lead.indent + if path.is_root() { 0 } else { 2 };
        for (key, value) in map {
            let mut here = Lead {
                indent: inner,
                text: format!("{}:", yaml(&json!(key))),
            };
            if in_list && lead.text == "- " {
                here.indent = lead.indent;
                here.text.insert_str(0, "- ");
                lead.text.clear();
            }
            self.value(value, &path.key(key), here);
        }
    }

    fn line(&mut self, lead: &Lead, value: &str, origin: String) {
        let (indent, text) = (" ".repeat(lead.indent), lead.text.trim_end());
        let gap = if value.is_empty() || text.is_empty() {
            ""
        } else {
            " "
        };
        self.lines
            .push((format!("{indent}{text}{gap}{value}"), origin));
    }

    fn text(&self) -> String {
        let width = self.lines.iter().map(|(line, _)| line.chars().count());
        let width = width.filter(|width| *width <= 60).max().unwrap_or_default();
        let lines = self
            .lines
            .iter()
            .map(|(line, origin)| match origin.as_str() {
                "" => format!("{line}\n"),
                origin => format!("{line:width$}  # {origin}\n"),
            });
        lines.collect()
    }
}

fn shown(origin: &Origin, file: Option<&FilePath>) -> String {
    let file = file
        .map(|file| file.display().to_string())
        .unwrap_or_default();
    match origin {
        Origin::Default => "default".to_owned(),
        Origin::File(mark) => format!("{file}:{}:{}", mark.line, mark.column),
        Origin::Variable(name) => format!("variable {name}"),
        Origin::Flag(name) => format!("flag --{name}"),
    }
}

fn as_json(origin: &Origin, file: Option<&FilePath>) -> Value {
    match origin {
        Origin::Default => json!({"kind": "default"}),
        Origin::File(mark) => {
            json!({"kind": "file", "file": file, "line": mark.line, "column": mark.column})
        }
        Origin::Variable(name) => json!({"kind": "variable", "variable": name}),
        Origin::Flag(name) => json!({"kind": "flag", "flag": format!("--{name}")}),
    }
}

/// A value without inner structure, in quotes where YAML would read it as something else.
fn yaml(value: &Value) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
    let is_plain = |text: &&str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
            && text.chars().all(harmless)
            && matches!(plain(text), Plain::Text(_))
    };
    // JSON's strings are YAML's strings in double quotes.
    let plain = value.as_str().filter(is_plain).map(str::to_owned);
    plain.unwrap_or_else(|| value.to_string())
}
