//! `/metrics`: which format, and its bytes.

use http::HeaderValue;
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, TextEncoder};

/// The body of `/metrics` with its type, for what the client says it takes.
pub(super) fn metrics_response(
    _accept: Option<&HeaderValue>,
    families: &[MetricFamily],
) -> prometheus::Result<(HeaderValue, Vec<u8>)> {
    let mut body = Vec::new();
    TextEncoder::new().encode(families, &mut body)?;
    Ok((HeaderValue::from_static(prometheus::TEXT_FORMAT), body))
}
