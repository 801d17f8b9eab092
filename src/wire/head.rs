//! The heads of an exchange in bytes: what a request and a response carry besides their bodies.
//!
//! Integers are big-endian; a string is its length and its bytes. `proto/exchange.md` has the
//! layout. Lengths are checked before anything is allocated.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::frame::FrameError;
use super::limits::MAX_HEADERS;

/// The service by which the platform reads logs of pods and runs programs in them. Only the gateway asks for it, of its own
/// accord; no user's path names it.
pub const COMMANDS: &str = "commands";

/// Who asks, as the gateway authenticated them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The token's subject: a person or a machine, for audit.
    pub subject: String,
    /// The role's name (`viewer`, `editor`, `admin`); the agent maps it or refuses.
    pub role: String,
    /// The token's public id.
    pub token_id: String,
}

/// A request as it crosses the tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// The request's method.
    pub method: Method,
    /// The target's name in the agent's configuration; never an address.
    pub service: String,
    /// Path and query behind the service's name, byte for byte; empty stands for `/`.
    pub target: String,
    /// What was cut off before `target`, for `X-Forwarded-Prefix`.
    pub prefix: String,
    /// Host (and port) by which the client addressed the gateway, for `X-Forwarded-Host`.
    pub host: String,
    /// Who asks.
    pub identity: Identity,
    /// The request's id, the same in both programs' logs.
    pub request_id: String,
    /// The protocol that the client wants to switch to (`websocket`, `SPDY/3.1`).
    pub upgrade: Option<String>,
    /// The request has no body: nothing follows the head.
    pub end: bool,
    /// Header fields, already clean of hop-by-hop and identity fields.
    pub headers: HeaderMap,
}

/// A response, final or interim, as it crosses the tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// The target's status.
    pub status: StatusCode,
    /// Header fields, without hop-by-hop ones.
    pub headers: HeaderMap,
}

const FLAG_END: u8 = 1;
const FLAG_UPGRADE: u8 = 2;

impl RequestHead {
    /// Appends the payload of a REQUEST frame.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`] when a part does not fit its length field.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), FrameError> {
        let mut flags = 0;
        if self.end {
            flags |= FLAG_END;
        }
        if self.upgrade.is_some() {
            flags |= FLAG_UPGRADE;
        }
        out.put_u8(flags);
        for part in [
            self.method.as_str(),
            &self.service,
            &self.target,
            &self.prefix,
            &self.host,
            &self.identity.subject,
            &self.identity.role,
            &self.identity.token_id,
            &self.request_id,
        ] {
            put(out, part.as_bytes())?;
        }
        if let Some(protocol) = &self.upgrade {
            put(out, protocol.as_bytes())?;
        }
        encode_headers(&self.headers, out)
    }

    /// Reads the payload of a REQUEST frame.
    ///
    /// # Errors
    /// [`FrameError::Malformed`] for anything that is not exactly such a payload.
    pub fn decode(mut payload: Bytes) -> Result<Self, FrameError> {
        let flags = take_u8(&mut payload)?;
        let method = Method::from_bytes(&take(&mut payload)?)
            .map_err(|_| FrameError::Malformed("method"))?;
        let mut next = || text(&mut payload);
        let (service, target, prefix, host) = (next()?, next()?, next()?, next()?);
        let identity = Identity {
            subject: next()?,
            role: next()?,
            token_id: next()?,
        };
        let request_id = next()?;
        let upgrade = if flags & FLAG_UPGRADE == 0 {
            None
        } else {
            Some(next()?)
        };
        let headers = decode_headers(payload)?;
        Ok(Self {
            method,
            service,
            target,
            prefix,
            host,
            identity,
            request_id,
            upgrade,
            end: flags & FLAG_END != 0,
            headers,
        })
    }
}

impl ResponseHead {
    /// Appends the payload of a RESPONSE or INFO frame.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`] when a part does not fit its length field.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), FrameError> {
        out.put_u16(self.status.as_u16());
        encode_headers(&self.headers, out)
    }

    /// Reads the payload of a RESPONSE or INFO frame.
    ///
    /// # Errors
    /// [`FrameError::Malformed`] for anything that is not exactly such a payload.
    pub fn decode(mut payload: Bytes) -> Result<Self, FrameError> {
        if payload.remaining() < 2 {
            return Err(FrameError::Malformed("status"));
        }
        let status =
            StatusCode::from_u16(payload.get_u16()).map_err(|_| FrameError::Malformed("status"))?;
        Ok(Self {
            status,
            headers: decode_headers(payload)?,
        })
    }
}

/// Appends a header section: a count, then name and value of each field.
///
/// # Errors
/// [`FrameError::TooLarge`] above [`MAX_HEADERS`] fields or for a value of 64 KiB and more.
pub fn encode_headers(headers: &HeaderMap, out: &mut BytesMut) -> Result<(), FrameError> {
    if headers.len() > MAX_HEADERS {
        return Err(FrameError::TooLarge {
            what: "header fields",
            max: MAX_HEADERS,
        });
    }
    out.put_u16(u16::try_from(headers.len()).unwrap_or(u16::MAX));
    for (name, value) in headers {
        put(out, name.as_str().as_bytes())?;
        put(out, value.as_bytes())?;
    }
    Ok(())
}

/// Reads a header section that fills the rest of `payload`.
///
/// # Errors
/// [`FrameError::Malformed`] for bad names or values, too many fields, or bytes left over.
pub fn decode_headers(mut payload: Bytes) -> Result<HeaderMap, FrameError> {
    const BAD: FrameError = FrameError::Malformed("header field");
    if payload.remaining() < 2 {
        return Err(BAD);
    }
    let count = usize::from(payload.get_u16());
    if count > MAX_HEADERS {
        return Err(FrameError::TooLarge {
            what: "header fields",
            max: MAX_HEADERS,
        });
    }
    let mut headers = HeaderMap::with_capacity(count);
    for _ in 0..count {
        let name = HeaderName::from_bytes(&take(&mut payload)?).map_err(|_| BAD)?;
        let value = HeaderValue::from_maybe_shared(take(&mut payload)?).map_err(|_| BAD)?;
        headers.append(name, value);
    }
    if payload.has_remaining() {
        return Err(FrameError::Malformed("bytes behind the head"));
    }
    Ok(headers)
}

/// Appends a length and bytes.
pub(super) fn put(out: &mut BytesMut, bytes: &[u8]) -> Result<(), FrameError> {
    let length = u16::try_from(bytes.len()).map_err(|_| FrameError::TooLarge {
        what: "field of a head",
        max: u16::MAX.into(),
    })?;
    out.put_u16(length);
    out.put_slice(bytes);
    Ok(())
}

pub(super) fn take_u8(payload: &mut Bytes) -> Result<u8, FrameError> {
    payload
        .try_get_u8()
        .map_err(|_| FrameError::Malformed("truncated head"))
}

/// Takes a length and that many bytes, without a copy.
pub(super) fn take(payload: &mut Bytes) -> Result<Bytes, FrameError> {
    let length = usize::from(
        payload
            .try_get_u16()
            .map_err(|_| FrameError::Malformed("truncated head"))?,
    );
    if payload.remaining() < length {
        return Err(FrameError::Malformed("truncated head"));
    }
    Ok(payload.split_to(length))
}

/// Takes a length and that many bytes of UTF-8.
pub(super) fn text(payload: &mut Bytes) -> Result<String, FrameError> {
    String::from_utf8(take(payload)?.into()).map_err(|_| FrameError::Malformed("text is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers() -> impl Strategy<Value = HeaderMap> {
        proptest::collection::vec(("[a-z][a-z0-9-]{0,20}", "[ -~]{0,60}"), 0..20).prop_map(|all| {
            let mut map = HeaderMap::new();
            for (name, value) in all {
                map.append(
                    HeaderName::try_from(name).unwrap(),
                    HeaderValue::try_from(value).unwrap(),
                );
            }
            map
        })
    }

    proptest! {
        #[test]
        fn request_heads_survive_the_wire(
            method in "GET|POST|PROPFIND", parts in proptest::collection::vec(".{0,40}", 8),
            upgrade in proptest::option::of("[a-z]{1,9}"), end: bool, headers in headers(),
        ) {
            let [service, target, prefix, host, subject, role, token_id, request_id] =
                <[String; 8]>::try_from(parts).unwrap();
            let head = RequestHead {
                method: method.parse().unwrap(), service, target, prefix, host,
                identity: Identity { subject, role, token_id }, request_id, upgrade, end, headers,
            };
            let mut out = BytesMut::new();
            head.encode(&mut out).unwrap();
            prop_assert_eq!(RequestHead::decode(out.freeze()).unwrap(), head);
        }

        #[test]
        fn response_heads_survive_the_wire(status in 100u16..1000, headers in headers()) {
            let head = ResponseHead { status: StatusCode::from_u16(status).unwrap(), headers };
            let mut out = BytesMut::new();
            head.encode(&mut out).unwrap();
            prop_assert_eq!(ResponseHead::decode(out.freeze()).unwrap(), head);
        }

        #[test]
        fn garbage_is_an_error_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(RequestHead::decode(Bytes::from(bytes.clone())));
            drop(ResponseHead::decode(Bytes::from(bytes)));
        }
    }

    #[test]
    fn too_many_fields_are_refused_on_both_sides() {
        let mut headers = HeaderMap::new();
        for n in 0..=MAX_HEADERS {
            headers.append("x-many", HeaderValue::from(n));
        }
        assert!(encode_headers(&headers, &mut BytesMut::new()).is_err());
        assert!(decode_headers(Bytes::from_static(&[0xff, 0xff])).is_err());
    }
}
