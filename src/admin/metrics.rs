//! `/metrics`: which format, and its bytes.

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};
use prometheus::proto::MetricFamily;

use crate::metrics::{Format, encode};

/// The body of `/metrics` with its type, for what the client says it takes.
pub(super) fn metrics_response(
    request: &HeaderMap,
    families: &[MetricFamily],
) -> (HeaderValue, Vec<u8>) {
    let accepts = request.get_all(ACCEPT).iter();
    let accept: Vec<_> = accepts.filter_map(|value| value.to_str().ok()).collect();
    let accept = (!accept.is_empty()).then(|| accept.join(","));
    let format = Format::from_accept(accept.as_deref());
    let kind = HeaderValue::from_static(format.content_type());
    (kind, encode(families, format))
}
