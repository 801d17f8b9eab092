//! Server-sent events (WHATWG HTML, section 9.2), as text.

use std::convert::Infallible;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header;
use serde::Serialize;
use serde_json::json;

use crate::http::error;
use crate::wire::error::ApiError;

/// The media type.
pub(super) const MEDIA_TYPE: &str = "text/event-stream";

/// A response of pieces that are asked of `reader` one after the other, until it has none.
pub(super) fn response<R, F>(reader: R, next: impl FnMut(R) -> F + Send + 'static) -> Response
where
    R: Send + 'static,
    F: Future<Output = Option<(Result<Bytes, Infallible>, R)>> + Send + 'static,
{
    let fields = [
        (header::CONTENT_TYPE, MEDIA_TYPE),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let body = Body::from_stream(stream::unfold(reader, next));
    (fields, body).into_response()
}

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
