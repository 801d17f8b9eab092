//! Credentials as clients of a proxy send them.

use data_encoding::BASE64;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, PROXY_AUTHORIZATION};
use secrecy::{ExposeSecret, SecretString};

use crate::wire::error::{ApiError, ErrorCode};

/// Makes `Proxy-Authorization` the request's `Authorization`: `Bearer TOKEN` as it is, and of
/// `Basic` the password, as most clients can send nothing else.
///
/// # Errors
/// `INVALID_REQUEST` when both are there, or it comes twice, or malformed. No message holds any
/// part of it.
pub fn take_proxy_authorization(headers: &mut HeaderMap) -> Result<(), ApiError> {
    let mut values = headers.get_all(PROXY_AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(());
    };
    if values.next().is_some() || headers.contains_key(AUTHORIZATION) {
        return Err(invalid(
            "more than one of Proxy-Authorization and Authorization",
        ));
    }
    let text = value.to_str().map_err(|_| malformed())?.trim_ascii();
    let value = match text.split_once(' ') {
        Some((scheme, encoded)) if scheme.eq_ignore_ascii_case("basic") => bearer_of(encoded)?,
        _ => value.clone(),
    };
    headers.remove(PROXY_AUTHORIZATION);
    headers.insert(AUTHORIZATION, value);
    Ok(())
}

fn bearer_of(encoded: &str) -> Result<HeaderValue, ApiError> {
    let pair = BASE64
        .decode(encoded.trim_ascii().as_bytes())
        .map_err(|_| malformed())?;
    let pair = SecretString::from(String::from_utf8(pair).map_err(|_| malformed())?);
    let (_, token) = pair.expose_secret().split_once(':').ok_or_else(malformed)?;
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| malformed())?;
    value.set_sensitive(true);
    Ok(value)
}

fn malformed() -> ApiError {
    invalid("malformed Proxy-Authorization header")
}

fn invalid(reason: &'static str) -> ApiError {
    ApiError::new(
        ErrorCode::InvalidRequest,
        "The request's credentials are ambiguous",
    )
    .with_detail("field", "proxy-authorization")
    .with_detail("reason", reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(lines: &[(&'static str, &str)]) -> Result<Option<String>, ErrorCode> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        take_proxy_authorization(&mut headers).map_err(|error| error.code)?;
        assert!(!headers.contains_key(PROXY_AUTHORIZATION));
        let value = headers.get(AUTHORIZATION);
        Ok(value.map(|value| value.to_str().unwrap().to_owned()))
    }

    #[test]
    fn the_token_is_a_bearer_or_a_password() {
        let bearer = Ok(Some("Bearer t0k".to_owned()));
        assert_eq!(taken(&[]), Ok(None));
        assert_eq!(taken(&[("proxy-authorization", "Bearer t0k")]), bearer);
        let basic = format!("Basic {}", BASE64.encode(b"anybody:t0k"));
        assert_eq!(taken(&[("proxy-authorization", &basic)]), bearer);
        assert_eq!(taken(&[("authorization", "Bearer t0k")]), bearer);
    }

    #[test]
    fn ambiguous_credentials_are_refused() {
        let cases: [&[(&str, &str)]; 4] = [
            &[
                ("proxy-authorization", "Bearer a"),
                ("authorization", "Bearer a"),
            ],
            &[
                ("proxy-authorization", "Bearer a"),
                ("proxy-authorization", "Bearer a"),
            ],
            &[("proxy-authorization", "Basic ***")],
            &[("proxy-authorization", "Basic bm9jb2xvbg==")],
        ];
        for case in cases {
            assert_eq!(taken(case), Err(ErrorCode::InvalidRequest), "{case:?}");
        }
    }
}
