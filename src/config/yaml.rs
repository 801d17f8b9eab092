//! YAML as a tree in which every key and value knows its line and column.
//!
//! The types are those of YAML's core schema and no other: what is meant as text and looks like a
//! number has to be quoted, and so nothing is read in two ways.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser's enums are not exhaustive"
)]

use std::collections::{BTreeMap, HashMap};

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};
use serde_json::Number;

use super::tree::{Entry, Mark, Node, Origin, Value};

/// Deeper than any configuration, and shallow enough for this recursion.
const MAX_DEPTH: usize = 64;

/// More values than any configuration has; aliases of aliases would make more than memory holds.
const MAX_VALUES: usize = 50_000;

/// Why a text is not usable YAML. Quotes nothing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) at: Mark,
    pub(super) reason: String,
    pub(super) help: Option<String>,
}

/// Reads one document; one that is empty is null. `origin` says where a value comes from,
/// given its place in the text.
pub(super) fn parse(text: &str, origin: &dyn Fn(Mark) -> Origin) -> Result<Node, SyntaxError> {
    let options = granit_parser::options! {
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
        emit_comments: false,
    };
    let mut reader = Reader {
        events: Parser::new_from_str_with_options(text, options),
        origin,
        anchors: HashMap::new(),
        values: 0,
    };
    reader.document()
}

struct Reader<'text, 'origin, I: granit_parser::BorrowedInput<'text>> {
    events: Parser<'text, I>,
    origin: &'origin dyn Fn(Mark) -> Origin,
    anchors: HashMap<usize, Node>,
    values: usize,
}

impl<'text, I: granit_parser::BorrowedInput<'text>> Reader<'text, '_, I> {
    fn next(&mut self) -> Result<(Event<'text>, Span), SyntaxError> {
        match self.events.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(scan_error(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn document(&mut self) -> Result<Node, SyntaxError> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    return Err(error(&span, "a second document begins here").help(
                        "a configuration is one document: remove the line '---' and what follows, or merge it",
                    ));
                }
                Event::DocumentStart(..) => {}
                event => root = Some(self.node(event, &span)?),
            }
        }
        let start = mark(&Span::empty(Marker::new(0, 1, 0).with_byte_offset(Some(0))));
        Ok(root.unwrap_or_else(|| Node::new((self.origin)(start), Value::Null)))
    }

    fn node(&mut self, event: Event<'text>, span: &Span) -> Result<Node, SyntaxError> {
        self.count(1, span)?;
        let at = |span: &Span| (self.origin)(mark(span));
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref(), span)?;
                (anchor, Node::new(at(span), value))
            }
            Event::SequenceStart(_, anchor, tag) => {
                refuse_tag(tag.as_deref(), "seq", span)?;
                let origin = at(span);
                (anchor, Node::new(origin, Value::List(self.list()?)))
            }
            Event::MappingStart(_, anchor, tag) => {
                refuse_tag(tag.as_deref(), "map", span)?;
                let origin = at(span);
                (anchor, Node::new(origin, Value::Map(self.map()?)))
            }
            Event::Alias(id) => {
                let origin = at(span);
                return self.alias(id, origin, span);
            }
            _ => return Err(error(span, "a value is missing here")),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, origin: Origin, span: &Span) -> Result<Node, SyntaxError> {
        let Some(node) = self.anchors.get(&id) else {
            return Err(error(span, "an alias stands inside of what it stands for"));
        };
        let mut node = node.clone();
        self.count(node.count(), span)?;
        if let Origin::File(mark) = std::mem::replace(&mut node.origin, origin) {
            node.anchored.get_or_insert(mark);
        }
        Ok(node)
    }

    fn count(&mut self, more: usize, span: &Span) -> Result<(), SyntaxError> {
        self.values += more;
        if self.values > MAX_VALUES {
            let reason = format!("there are more than {MAX_VALUES} values up to here");
            return Err(error(span, &reason));
        }
        Ok(())
    }

    fn list(&mut self) -> Result<Vec<Node>, SyntaxError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd | Event::StreamEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, &span)?),
            }
        }
    }

    fn map(&mut self) -> Result<BTreeMap<String, Entry>, SyntaxError> {
        let mut map = BTreeMap::new();
        let mut lines = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd | Event::StreamEnd => return Ok(map),
                Event::Scalar(text, _, 0, None) => text.into_owned(),
                _ => return Err(error(&span, "a key must be a plain word")),
            };
            let (event, value_span) = self.next()?;
            let node = self.node(event, &value_span)?;
            if let Some(first) = lines.insert(key.clone(), span.start.line()) {
                return Err(error(&span, "this key is here twice")
                    .help(&format!("the first is in line {first}; keep one of them")));
            }
            map.insert(key, Entry::new((self.origin)(mark(&span)), node));
        }
    }
}

impl SyntaxError {
    fn help(mut self, help: &str) -> Self {
        self.help = Some(help.to_owned());
        self
    }
}

fn error(span: &Span, reason: &str) -> SyntaxError {
    SyntaxError {
        at: mark(span),
        reason: reason.to_owned(),
        help: None,
    }
}

fn scan_error(found: &ScanError) -> SyntaxError {
    let reason = match found.kind() {
        // The character may be part of a secret.
        ErrorKind::UnexpectedCharacter { .. } => "a value can not begin with this character".into(),
        ErrorKind::UnknownAnchor => "this alias names nothing that came before it".into(),
        ErrorKind::RecursionLimitExceeded => {
            format!("this is nested more than {MAX_DEPTH} levels deep")
        }
        kind => kind.to_string(),
    };
    error(&Span::empty(*found.marker()), &reason)
}

fn mark(span: &Span) -> Mark {
    let offset = |marker: &Marker| marker.byte_offset().unwrap_or_default();
    Mark {
        line: span.start.line(),
        column: span.start.col() + 1,
        bytes: offset(&span.start)..offset(&span.end),
    }
}

/// Tags beyond those of the core schema would run code or mean nothing; theirs say what is plain.
fn refuse_tag(tag: Option<&Tag>, plain: &str, span: &Span) -> Result<(), SyntaxError> {
    match tag {
        None => Ok(()),
        Some(tag) if tag.is_yaml_core_schema_tag(plain) => Ok(()),
        Some(_) => Err(error(span, "a tag such as '!x' has no meaning here")),
    }
}

fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    span: &Span,
) -> Result<Value, SyntaxError> {
    let text_tag = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
    if !text_tag {
        refuse_tag(tag, "", span)?;
    }
    if text_tag || style != ScalarStyle::Plain {
        return Ok(Value::Text(text.to_owned()));
    }
    Ok(plain(text))
}

/// A scalar without quotes (YAML 1.2.2, section 10.3.2, "Tag Resolution").
pub(super) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::Text(text.to_owned()), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let radix = |prefix, base| {
        let digits = text.strip_prefix(prefix)?;
        u64::from_str_radix(digits, base).ok().map(Number::from)
    };
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| {
        let text = text.strip_prefix('+').unwrap_or(text);
        let integer = text.parse::<i64>().ok().map(Number::from);
        let large = || text.parse::<u64>().ok().map(Number::from);
        let float = || {
            let fits = digits
                .bytes()
                .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
            fits.then(|| text.parse::<f64>().ok().and_then(whole_or_not))?
        };
        integer.or_else(large).or_else(float)
    })
}

/// `1e3` is a whole number as much as 1000 is.
fn whole_or_not(number: f64) -> Option<Number> {
    let text = format!("{number}");
    let whole = text.parse::<i64>().ok().filter(|_| number.abs() < 1e15);
    whole.map(Number::from).or_else(|| Number::from_f64(number))
}

#[cfg(test)]
#[path = "yaml/tests.rs"]
mod tests;
