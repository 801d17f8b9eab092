//! From a manifest's text to its objects.
//!
//! YAML is read as kubectl reads it: `yes` and `on` are true, `0644` is octal. Documents are counted
//! from 1, without those that have nothing in them.

use serde_json::{Map, Value};
use serde_saphyr::{Options, Spanned};

use super::fault::Fault;
use super::tree::Tree;
use crate::wire::error::ErrorCode;
use crate::wire::limits::MAX_MANIFEST;

/// Objects of one manifest: above what a large chart has, and tried within seconds.
pub(super) const MAX_OBJECTS: usize = 500;

/// Deeper than any object; a schema of a CRD that nests has some 30.
const MAX_DEPTH: usize = 64;

/// Values of one document: one for every ten bytes.
const MAX_NODES: usize = 100_000;

/// Bytes of text after aliases are replaced, of each document and of all: four times what they can
/// be without. Aliases of aliases would make more than memory holds.
const MAX_EXPANDED: usize = 4 * MAX_MANIFEST;

/// Faults after which reading stops.
const MAX_FAULTS: usize = 100;

/// One object, as it is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Document {
    /// From 1; the items of a list share one.
    pub(super) number: usize,
    /// Where it begins.
    pub(super) line: u64,
    pub(super) object: Map<String, Value>,
    /// Empty for the core group.
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) namespace: Option<String>,
}

impl Document {
    /// A fault of this document.
    pub(super) fn fault(&self, fault: Fault) -> Fault {
        fault
            .of_document(self.number)
            .object(&self.kind, &self.name)
            .at(self.line, 1)
    }
}

/// What stands between separators.
struct Raw {
    number: usize,
    line: u64,
    value: Value,
}

/// All objects of a manifest.
///
/// # Errors
/// Everything that is wrong with it; never empty.
pub(super) fn read(manifest: &str) -> Result<Vec<Document>, Vec<Fault>> {
    if manifest.len() > MAX_MANIFEST {
        let message = format!(
            "the manifest has {} bytes, and {MAX_MANIFEST} are taken at most: deploy it in parts",
            manifest.len()
        );
        return Err(vec![
            Fault::new(ErrorCode::PayloadTooLarge, message).field("manifest"),
        ]);
    }
    let text = manifest.trim_start_matches('\u{feff}');
    let mut reader = Reader::default();
    match json(text) {
        Some(documents) => documents.into_iter().for_each(|raw| reader.take(raw)),
        None => reader.yaml(text),
    }
    reader.end()
}

/// The documents of a text that is nothing but JSON. YAML has most of JSON, and not pairs of surrogates or long keys.
fn json(text: &str) -> Option<Vec<Raw>> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Tree>();
    let mut found: Vec<Raw> = Vec::new();
    let mut line = 1;
    let mut counted = 0;
    loop {
        let rest = text.get(stream.byte_offset()..)?;
        let start = text.len() - rest.trim_start().len();
        line += newlines(text.get(counted..start)?);
        counted = start;
        let Some(next) = stream.next() else {
            return Some(found);
        };
        let Tree(value) = next.ok()?;
        found.push(Raw {
            number: found.len() + 1,
            line,
            value,
        });
    }
}

fn newlines(text: &str) -> u64 {
    memchr::memchr_iter(b'\n', text.as_bytes())
        .count()
        .try_into()
        .unwrap_or(u64::MAX)
}

#[derive(Default)]
struct Reader {
    documents: Vec<Document>,
    faults: Vec<Fault>,
    expanded: usize,
}

impl Reader {
    fn yaml(&mut self, text: &str) {
        let mut input = text.as_bytes();
        let parsed =
            serde_saphyr::read_with_options::<_, Spanned<Tree>>(&mut input, yaml_options());
        for (index, next) in parsed.enumerate() {
            let number = index + 1;
            match next {
                Ok(spanned) => self.take(Raw {
                    number,
                    line: spanned.defined.line(),
                    value: spanned.value.0,
                }),
                Err(error) => self.faults.push(syntax(&error, number)),
            }
            // What is read of one document has a limit of its own; this is the one for all.
            if self.expanded > MAX_EXPANDED || self.faults.len() > MAX_FAULTS {
                let message = "with its aliases replaced, the manifest is too large";
                if self.expanded > MAX_EXPANDED {
                    self.faults
                        .push(Fault::invalid(message).of_document(number));
                }
                return;
            }
        }
    }

    fn take(&mut self, raw: Raw) {
        self.expanded = self.expanded.saturating_add(size(&raw.value));
        if let Err(fault) = self.flatten(raw) {
            self.faults.push(fault);
        }
    }

    /// Adds an object, or the items of a list.
    fn flatten(&mut self, raw: Raw) -> Result<(), Fault> {
        let (number, line) = (raw.number, raw.line);
        let mut object = match raw.value {
            Value::Object(object) => object,
            Value::Null => return Ok(()),
            Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                let fault = Fault::invalid("this is no object of Kubernetes: a map is expected");
                return Err(fault.of_document(number).at(line, 1));
            }
        };
        let list = object
            .get("kind")
            .and_then(Value::as_str)
            .is_some_and(|kind| kind.ends_with("List"));
        if let (true, Some(Value::Array(items))) = (list, object.get_mut("items")) {
            for value in std::mem::take(items) {
                let item = Raw {
                    number,
                    line,
                    value,
                };
                if let Err(fault) = self.flatten(item) {
                    self.faults.push(fault);
                }
            }
            return Ok(());
        }
        if self.documents.len() < MAX_OBJECTS {
            self.documents.push(document(number, line, object)?);
            return Ok(());
        }
        let message = format!(
            "the manifest has more than {MAX_OBJECTS} objects, the most that are deployed at once"
        );
        if self.faults.iter().any(|fault| fault.message == message) {
            Ok(())
        } else {
            Err(Fault::new(ErrorCode::PayloadTooLarge, message).of_document(number))
        }
    }

    fn end(mut self) -> Result<Vec<Document>, Vec<Fault>> {
        if self.documents.is_empty() && self.faults.is_empty() {
            let fault = Fault::invalid("the manifest has no object in it");
            self.faults.push(fault.field("manifest"));
        }
        if self.faults.is_empty() {
            Ok(self.documents)
        } else {
            Err(self.faults)
        }
    }
}

fn yaml_options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_total_scalar_bytes: MAX_EXPANDED,
            max_recorded_anchor_bytes: MAX_EXPANDED,
            // JSON keys of an annotation may be long.
            simple_key_max_lookahead: 8 * 1024,
        },
        legacy_octal_numbers: true,
        // It would quote the text, which may be a Secret.
        with_snippet: false,
    }
}

fn syntax(error: &serde_saphyr::Error, number: usize) -> Fault {
    let place = error.location().map(|place| (place.line(), place.column()));
    let mut text = error.to_string();
    if let Some((line, column)) = place {
        let said_anyway = format!(" at line {line}, column {column}");
        text = text.replace(&said_anyway, "");
    }
    let fault = Fault::invalid(format!("not readable as YAML: {text}")).of_document(number);
    match place {
        Some((line, column)) => fault.at(line, column),
        None => fault,
    }
}

/// Bytes of all texts in a value, and some for each value.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => 8 + text.len(),
        Value::Array(items) => items.iter().map(size).sum::<usize>() + 8,
        Value::Object(map) => map.iter().map(|(k, v)| k.len() + size(v)).sum::<usize>() + 8,
    }
}

/// Checks what every object has.
fn document(number: usize, line: u64, object: Map<String, Value>) -> Result<Document, Fault> {
    let at = |fault: Fault| fault.of_document(number).at(line, 1);
    let api_version = text(&object, "apiVersion").map_err(at)?;
    let kind = text(&object, "kind").map_err(at)?;
    let (group, version) = super::names::group_version(&api_version).ok_or_else(|| {
        at(Fault::invalid("apiVersion is no 'group/version'").field("apiVersion"))
    })?;
    if !super::names::is_kind(&kind) {
        return Err(at(Fault::invalid("kind is no name of a kind").field("kind")));
    }
    let metadata = object
        .get("metadata")
        .and_then(Value::as_object)
        .ok_or_else(|| at(Fault::invalid(format!("{kind} has no metadata")).field("metadata")))?;
    if metadata.contains_key("generateName") {
        let message = format!(
            "{kind} has metadata.generateName: each deployment would make one more; give it a metadata.name"
        );
        return Err(at(Fault::invalid(message).field("metadata.generateName")));
    }
    let name = text(metadata, "name").map_err(|fault| at(fault.field("metadata.name")))?;
    if !super::names::is_path_segment(&name) {
        let message = format!("{kind} has a metadata.name that no object can have");
        return Err(at(Fault::invalid(message).field("metadata.name")));
    }
    let namespace = match metadata.get("namespace") {
        None | Some(Value::Null) => None,
        Some(_) => Some(
            text(metadata, "namespace").map_err(|fault| at(fault.field("metadata.namespace")))?,
        ),
    };
    Ok(Document {
        number,
        line,
        object,
        group,
        version,
        kind,
        name,
        namespace,
    })
}

fn text(map: &Map<String, Value>, field: &str) -> Result<String, Fault> {
    match map.get(field) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        None | Some(Value::Null | Value::String(_)) => {
            Err(Fault::invalid(format!("{field} is missing")).field(field))
        }
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(Fault::invalid(format!("{field} is no text: quote it")).field(field))
        }
    }
}

#[cfg(test)]
mod tests;
