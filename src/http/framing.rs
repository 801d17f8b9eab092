//! A second opinion on where HTTP/1 requests end.
//!
//! hyper's server parser drops `Content-Length` without a word when `Transfer-Encoding` is there
//! too, takes bare LF for a line end, and joins or hides other things that RFC 9112 sections 2.2,
//! 5.2 and 6.3 tell a server to refuse, since two parsers that read them differently are how one
//! request is smuggled inside another. Nothing of that shows in the `HeaderMap`, so the raw bytes
//! are watched on their way in: a [`Guard`] wraps the connection, a [`Scanner`] follows the
//! framing, and the service asks [`Heads::next`] once per request whether the head was clean.

mod guard;
mod scan;
mod state;

pub use guard::{Guard, Heads, MAX_OUTSTANDING};
pub use scan::Scanner;

use http::Method;
use http::header::{HeaderMap, UPGRADE};

use crate::wire::error::{ApiError, ErrorCode};

/// What a client sent that two HTTP parsers may read differently.
///
/// It stays with the connection: every later head on it is refused for the same reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Violation {
    /// The request line is not `method SP target SP HTTP/1.x` (RFC 9112 section 3).
    #[error("malformed request line")]
    RequestLine,
    /// A control, non-ASCII byte or `#` in the request target (RFC 9112 section 3.2).
    #[error("forbidden character in the request target")]
    Target,
    /// Both `Content-Length` and `Transfer-Encoding` (RFC 9112 section 6.1).
    #[error("both Content-Length and Transfer-Encoding")]
    BothLengths,
    /// `Content-Length` is no number, or two of them differ (RFC 9112 section 6.3).
    #[error("invalid or differing Content-Length")]
    ContentLength,
    /// `Transfer-Encoding` is there twice or is not exactly `chunked`.
    #[error("Transfer-Encoding other than chunked")]
    TransferEncoding,
    /// `Transfer-Encoding` in a request of HTTP/1.0 (RFC 9112 section 6.1).
    #[error("Transfer-Encoding in HTTP/1.0")]
    TransferEncodingIn10,
    /// A header line that goes on in the next (RFC 9112 section 5.2).
    #[error("folded header line")]
    ObsFold,
    /// CR without LF (RFC 9112 section 2.2).
    #[error("CR without LF")]
    BareCr,
    /// LF without CR (RFC 9112 section 2.2).
    #[error("LF without CR")]
    BareLf,
    /// Whitespace between a header's name and the colon (RFC 9112 section 5.1).
    #[error("whitespace before the colon of a header")]
    WhitespaceBeforeColon,
    /// A header name that is empty or no token (RFC 9110 section 5.1).
    #[error("invalid header name")]
    HeaderName,
    /// A control byte in a header value (RFC 9110 section 5.5).
    #[error("control character in a header value")]
    HeaderValue,
    /// A NUL byte in the head.
    #[error("NUL in the head")]
    Nul,
    /// No `Host` in HTTP/1.1 (RFC 9112 section 3.2).
    #[error("no Host header")]
    MissingHost,
    /// More than one `Host` (RFC 9112 section 3.2).
    #[error("more than one Host header")]
    DuplicateHost,
    /// A chunk or the trailer section is malformed (RFC 9112 section 7.1); the body cannot be read.
    #[error("malformed chunked body")]
    Chunked,
    /// A request that nothing scanned, since it follows one that asked for another protocol.
    #[error("request after a request to switch protocols")]
    Unscanned,
}

impl From<Violation> for ApiError {
    /// A 400 whose `details.reason` says what was wrong.
    fn from(violation: Violation) -> Self {
        Self::new(
            ErrorCode::InvalidRequest,
            "The request's framing is ambiguous",
        )
        .with_detail("reason", violation.to_string())
    }
}

/// Whether a request ends the scan of its connection: it is a `CONNECT` or has `Upgrade`.
///
/// Unless the protocol is really switched, the answer has to carry `Connection: close`; a request
/// that follows anyway is [`Violation::Unscanned`].
pub fn is_last(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::CONNECT || headers.contains_key(UPGRADE)
}

#[cfg(test)]
mod tests;
