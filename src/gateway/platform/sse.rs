//! Server-sent events (WHATWG HTML, section 9.2), as text.

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use crate::http::error;
use crate::wire::error::ApiError;

/// The media type.
pub(super) const MEDIA_TYPE: &str = "text/event-stream";

/// A comment: says to whoever reads, and to what is between, that the stream lives.
pub(super) const KEEP_ALIVE: Bytes = Bytes::from_static(b": alive\n\n");

/// One event, whose data is JSON of one line.
pub(super) fn event(name: &str, id: Option<u64>, data: &impl Serialize) -> Bytes {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    // What is told is made of strings and numbers, and always makes JSON.
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("{id}event: {name}\ndata: {data}\n\n").into()
}

/// The end as it should be.
pub(super) fn end(reason: &str) -> Bytes {
    event("end", None, &json!({ "reason": reason }))
}

/// The end as it should not be, in the contract's form.
pub(super) fn failed(why: &ApiError) -> Bytes {
    let body = error::body(why, false);
    let body = std::str::from_utf8(&body).unwrap_or_default();
    format!("event: error\ndata: {body}\n\n").into()
}
