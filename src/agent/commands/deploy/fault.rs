//! What is wrong with a document or an object, and the error that a command ends with.

use kube::core::Status;
use serde_json::{Map, Value, json};

use crate::wire::control::CommandError;
use crate::wire::error::ErrorCode;

/// Faults that an error lists; the count of all is in it.
const MAX_LISTED: usize = 50;

/// Bytes of one message: Kubernetes' own may list every value that would have been valid.
const MAX_MESSAGE: usize = 2_048;

/// One thing that keeps a command from its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: ErrorCode,
    pub(super) message: String,
    /// From 1, of those that have something in them.
    pub(super) document: Option<usize>,
    /// Kind and name.
    object: Option<Box<(String, String)>>,
    field: Option<String>,
    /// Line and column, from 1.
    at: Option<(u64, u64)>,
}

impl Fault {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: shortened(message.into(), MAX_MESSAGE),
            document: None,
            object: None,
            field: None,
            at: None,
        }
    }

    /// Whoever gave the command is at fault.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }

    /// What the agent's policy says.
    pub(super) fn policy(error: CommandError) -> Self {
        let code = error.code.parse().unwrap_or(ErrorCode::Forbidden);
        Self::new(code, error.message)
    }

    /// What the API server says.
    pub(super) fn status(status: &Status) -> Self {
        if let Some(field) = unfit_field(status) {
            return Self::invalid(status.message.clone()).field(field);
        }
        let fault = Self::new(code(status.code), status.message.clone());
        let causes = status.details.iter().flat_map(|details| &details.causes);
        match causes.map(|cause| &cause.field).find(|f| !f.is_empty()) {
            Some(field) => fault.field(field.clone()),
            None => fault,
        }
    }

    pub(super) fn of_document(mut self, number: usize) -> Self {
        self.document = Some(number);
        self
    }

    pub(super) fn object(mut self, kind: &str, name: &str) -> Self {
        self.object = Some(Box::new((kind.to_owned(), name.to_owned())));
        self
    }

    pub(super) fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    pub(super) fn at(mut self, line: u64, column: u64) -> Self {
        self.at = Some((line, column));
        self
    }

    /// `document 3 (Service 'web'), line 12: …`
    pub(super) fn sentence(&self) -> String {
        let mut place = self
            .document
            .map_or_else(String::new, |number| format!("document {number}"));
        if let Some((kind, name)) = self.object.as_deref() {
            place += &if place.is_empty() {
                format!("{kind} '{name}'")
            } else {
                format!(" ({kind} '{name}')")
            };
        }
        if let (Some((line, column)), None) = (self.at, &self.object) {
            place += &format!(", line {line}, column {column}");
        }
        if place.is_empty() {
            self.message.clone()
        } else {
            format!("{place}: {}", self.message)
        }
    }

    fn details(&self) -> Map<String, Value> {
        let mut details = Map::new();
        let mut add = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                details.insert(name.to_owned(), value);
            }
        };
        add("document", self.document.map(|number| json!(number)));
        let object = self.object.as_deref();
        add("kind", object.map(|(kind, _)| json!(kind)));
        add("name", object.map(|(_, name)| json!(name)));
        add("field", self.field.as_ref().map(|field| json!(field)));
        add("line", self.at.map(|(line, _)| json!(line)));
        add("column", self.at.map(|(_, column)| json!(column)));
        details
    }

    /// The error of a command that ends by this alone.
    pub(super) fn error(&self) -> CommandError {
        CommandError {
            code: self.code.as_str().to_owned(),
            message: self.sentence(),
            details: self.details(),
        }
    }

    fn listed(&self) -> Value {
        let mut entry = self.details();
        entry.insert("code".to_owned(), json!(self.code.as_str()));
        entry.insert("message".to_owned(), json!(self.message));
        Value::Object(entry)
    }
}

/// The error of a command that ends by all of these: the first one's, with all of them in `details.errors`.
pub(super) fn combined(faults: &[Fault]) -> Option<CommandError> {
    let first = faults.first()?;
    let mut error = first.error();
    if faults.len() > 1 {
        error.message += &format!(" (and {} more)", faults.len() - 1);
        let listed: Vec<_> = faults.iter().take(MAX_LISTED).map(Fault::listed).collect();
        error.details.insert("errors".to_owned(), listed.into());
        let count = faults.len().into();
        error.details.insert("error_count".to_owned(), count);
    }
    Some(error)
}

/// The field that makes an object unfit for its schema. The API server calls that an error of its own (500) in
/// server-side apply: `failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): .spec.x: field not
/// declared in schema`.
pub(super) fn unfit_field(status: &Status) -> Option<&str> {
    let rest = status
        .message
        .strip_prefix("failed to create typed patch object (")?;
    let (_, errors) = rest.split_once("): ")?;
    let first = errors.trim_start_matches("errors:").trim_start();
    first.split_once(": ").map(|(field, _)| field)
}

/// What an answer of the API server is called in the contract.
fn code(status: u16) -> ErrorCode {
    match status {
        400 | 405 | 406 | 415 | 422 => ErrorCode::InvalidRequest,
        401 => ErrorCode::Unauthorized,
        403 => ErrorCode::Forbidden,
        404 => ErrorCode::NotFound,
        409 => ErrorCode::Conflict,
        413 => ErrorCode::PayloadTooLarge,
        429 => ErrorCode::TooManyRequests,
        503 => ErrorCode::Unavailable,
        504 => ErrorCode::TargetTimedOut,
        _ => ErrorCode::TargetFailed,
    }
}

/// Cut at a character, with an ellipsis that says so.
pub(super) fn shortened(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_where_and_lists_all() {
        let first = Fault::invalid("spec.replicsa is no field")
            .of_document(2)
            .object("Deployment", "web")
            .at(7, 1);
        let second = Fault::new(ErrorCode::Forbidden, "no").of_document(3);
        assert!(combined(&[]).is_none());
        let error = combined(&[first, second]).unwrap();
        assert_eq!(error.code, "INVALID_REQUEST");
        assert_eq!(
            error.message,
            "document 2 (Deployment 'web'): spec.replicsa is no field (and 1 more)"
        );
        assert_eq!(error.details["line"], 7);
        assert_eq!(error.details["errors"][1]["code"], "FORBIDDEN");
    }

    #[test]
    fn a_field_that_is_unfit_is_no_fault_of_the_server() {
        let message = "failed to create typed patch object (a/b; /v1, Kind=C): errors:\n  .x.y: field not declared in \
            schema\n  .z: no";
        let fault = Fault::status(&Status::failure(message, "").with_code(500));
        assert_eq!(fault.code, ErrorCode::InvalidRequest);
        assert_eq!(fault.error().details["field"], ".x.y");
        let other = Fault::status(&Status::failure("failed calling webhook", "").with_code(500));
        assert_eq!(other.code, ErrorCode::TargetFailed);
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        assert_eq!(shortened("aéz".to_owned(), 2), "a…");
        let fault = Fault::invalid("ü".repeat(MAX_MESSAGE));
        assert!(fault.message.len() <= MAX_MESSAGE + '…'.len_utf8());
    }
}
