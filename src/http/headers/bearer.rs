//! Where a user's token is in a request.

use data_encoding::BASE64URL_NOPAD;
use http::header::{AUTHORIZATION, HeaderMap, SEC_WEBSOCKET_PROTOCOL};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::elements;
use crate::wire::error::{ApiError, ErrorCode};

/// What Kubernetes has browsers put in front of a base64url token as a WebSocket subprotocol, since
/// they cannot set `Authorization` (`k8s.io/apiserver/pkg/authentication/request/websocket`).
const PROTOCOL_PREFIX: &[u8] = b"base64url.bearer.authorization.k8s.io.";

/// The bearer token of a request, from `Authorization` (RFC 6750 section 2.1) or from the
/// WebSocket subprotocol of Kubernetes. `None` when it has neither.
///
/// # Errors
/// `INVALID_REQUEST` when a token comes twice, in two places with different values, or malformed;
/// `UNAUTHORIZED` for a scheme other than Bearer. No message holds any part of a token.
pub fn bearer(headers: &HeaderMap) -> Result<Option<SecretString>, ApiError> {
    match (from_authorization(headers)?, from_protocol(headers)?) {
        (Some(one), Some(other)) if !same(&one, &other) => Err(invalid(
            "Authorization and Sec-WebSocket-Protocol carry different tokens",
        )),
        (Some(token), _) | (None, Some(token)) => Ok(Some(token)),
        (None, None) => Ok(None),
    }
}

/// Whether an entry of `Sec-WebSocket-Protocol` carries a token, in any casing.
pub(super) fn is_bearer_protocol(entry: &[u8]) -> bool {
    entry
        .get(..PROTOCOL_PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(PROTOCOL_PREFIX))
}

fn from_authorization(headers: &HeaderMap) -> Result<Option<SecretString>, ApiError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(invalid("more than one Authorization header"));
    }
    let text = value
        .to_str()
        .map_err(|_| invalid("malformed Authorization header"))?;
    let text = text.trim_ascii();
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        let err = ApiError::new(ErrorCode::Unauthorized, "Only bearer tokens are accepted");
        return Err(err.with_detail("reason", "authorization scheme is not Bearer"));
    }
    checked(token.trim_ascii_start()).map(Some)
}

fn from_protocol(headers: &HeaderMap) -> Result<Option<SecretString>, ApiError> {
    let mut entries = elements(headers, SEC_WEBSOCKET_PROTOCOL).filter(|e| is_bearer_protocol(e));
    let Some(entry) = entries.next() else {
        return Ok(None);
    };
    if entries.next().is_some() {
        return Err(invalid(
            "more than one bearer entry in Sec-WebSocket-Protocol",
        ));
    }
    let encoded = entry.get(PROTOCOL_PREFIX.len()..).unwrap_or_default();
    let malformed = || invalid("malformed bearer entry in Sec-WebSocket-Protocol");
    let bytes = BASE64URL_NOPAD.decode(encoded).map_err(|_| malformed())?;
    let token = String::from_utf8(bytes).map_err(|_| malformed())?;
    checked(&token).map(Some)
}

/// The token, if it is a `b64token` of RFC 6750 section 2.1.
fn checked(token: &str) -> Result<SecretString, ApiError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if token.is_empty() || !token.bytes().all(allowed) {
        return Err(invalid("malformed bearer token"));
    }
    Ok(SecretString::from(token))
}

fn same(one: &SecretString, other: &SecretString) -> bool {
    let (one, other) = (one.expose_secret(), other.expose_secret());
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

fn invalid(reason: &'static str) -> ApiError {
    ApiError::new(
        ErrorCode::InvalidRequest,
        "The request's credentials are ambiguous",
    )
    .with_detail("field", "authorization")
    .with_detail("reason", reason)
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderName, HeaderValue};

    use super::*;

    fn of(pairs: &[(HeaderName, &str)]) -> Result<Option<String>, ErrorCode> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        match bearer(&headers) {
            Ok(token) => Ok(token.map(|token| token.expose_secret().to_owned())),
            Err(err) => Err(err.code),
        }
    }

    fn protocol(token: &str) -> String {
        let encoded = BASE64URL_NOPAD.encode(token.as_bytes());
        format!("v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.{encoded}")
    }

    #[test]
    fn the_token_is_found_in_both_places() {
        let found = Ok(Some("t0k.en=".to_owned()));
        let entry = protocol("t0k.en=");
        assert_eq!(of(&[]), Ok(None));
        for value in ["Bearer t0k.en=", "bearer t0k.en=", " BEARER  t0k.en= "] {
            assert_eq!(of(&[(AUTHORIZATION, value)]), found, "{value:?}");
        }
        assert_eq!(of(&[(SEC_WEBSOCKET_PROTOCOL, &entry)]), found);
        let both = [
            (AUTHORIZATION, "Bearer t0k.en="),
            (SEC_WEBSOCKET_PROTOCOL, &*entry),
        ];
        assert_eq!(of(&both), found);
        assert_eq!(
            of(&[(SEC_WEBSOCKET_PROTOCOL, "v5.channel.k8s.io")]),
            Ok(None)
        );
    }

    #[test]
    fn ambiguous_credentials_are_refused() {
        let invalid = Err(ErrorCode::InvalidRequest);
        let entry = protocol("other");
        let twice = format!("{entry}, {entry}");
        let prefix = "base64url.bearer.authorization.k8s.io.";
        let cases: &[&[(HeaderName, &str)]] = &[
            &[(AUTHORIZATION, "Bearer a"), (AUTHORIZATION, "Bearer a")],
            &[
                (AUTHORIZATION, "Bearer a"),
                (SEC_WEBSOCKET_PROTOCOL, &entry),
            ],
            &[(SEC_WEBSOCKET_PROTOCOL, &twice)],
            &[(SEC_WEBSOCKET_PROTOCOL, prefix)],
            &[(
                SEC_WEBSOCKET_PROTOCOL,
                "base64url.bearer.authorization.k8s.io.*",
            )],
            &[(
                SEC_WEBSOCKET_PROTOCOL,
                "base64url.bearer.authorization.k8s.io.YQ==",
            )],
            &[(
                SEC_WEBSOCKET_PROTOCOL,
                "base64url.bearer.authorization.k8s.io.__79",
            )],
            &[(AUTHORIZATION, "Bearer")],
            &[(AUTHORIZATION, "Bearer ")],
            &[(AUTHORIZATION, "Bearer a b")],
            &[(AUTHORIZATION, "Bearer a,b")],
        ];
        for case in cases {
            assert_eq!(of(case), invalid, "{case:?}");
        }
    }

    #[test]
    fn other_schemes_are_unauthorized() {
        for value in ["Basic YTpi", "", "Bearerx a", "token"] {
            assert_eq!(of(&[(AUTHORIZATION, value)]), Err(ErrorCode::Unauthorized));
        }
    }
}
