//! Which service of which cluster a request's path names, and the bytes that are left for it.
//!
//! Nothing is ever normalised: the gateway decides on the bytes that it got and passes on exactly
//! those that follow the service's name. What a target behind it could read as a step out of
//! that service is refused instead.

use std::borrow::Cow;

use crate::wire::error::{ApiError, ErrorCode};

/// Longest name of a cluster or service: a DNS label, RFC 1035 section 2.3.4.
pub const MAX_NAME: usize = 63;

/// A path-and-query taken apart at the end of the service's name.
///
/// `prefix` and `rest` together are the input, byte for byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelPath<'a> {
    /// The service's name; see [`is_name`].
    pub service: &'a str,
    /// What follows it: empty, or beginning with `/` or `?`.
    pub rest: &'a str,
    /// What was in front of `rest`, with a `/` at its start and none at its end; the value of
    /// `X-Forwarded-Prefix`.
    pub prefix: &'a str,
}

impl<'a> TunnelPath<'a> {
    /// Takes `/{service}{rest}` apart, the form under a cluster's own host name.
    ///
    /// # Errors
    /// `INVALID_REQUEST` for a path that has a forbidden character or a dot segment in any
    /// encoding, or whose first segment is no name; `NOT_FOUND` for `/` alone.
    pub fn of_host(path_and_query: &'a str) -> Result<Self, ApiError> {
        check(path_and_query)?;
        let after = path_and_query.strip_prefix('/').ok_or_else(not_found)?;
        if after.is_empty() || after.starts_with('?') {
            return Err(not_found());
        }
        Self::split(path_and_query, after)
    }

    /// Takes `/v1/clusters/{name}/tunnel/{service}{rest}` apart, the form that needs no wildcard
    /// DNS; returns the cluster's name too.
    ///
    /// # Errors
    /// As [`TunnelPath::of_host`]; `NOT_FOUND` when the fixed segments are others.
    pub fn of_cluster(path_and_query: &'a str) -> Result<(&'a str, Self), ApiError> {
        check(path_and_query)?;
        let after = path_and_query.strip_prefix("/v1/clusters/");
        let (cluster, after) = after
            .and_then(|after| after.split_once('/'))
            .ok_or_else(not_found)?;
        let after = after.strip_prefix("tunnel/").ok_or_else(not_found)?;
        let cluster = name("cluster_name", cluster)?;
        Ok((cluster, Self::split(path_and_query, after)?))
    }

    /// `after` is the end of `whole`, from the service's name on.
    fn split(whole: &'a str, after: &'a str) -> Result<Self, ApiError> {
        let end = after.find(['/', '?']).unwrap_or(after.len());
        let (service, rest) = after.split_at_checked(end).unwrap_or((after, ""));
        let service = name("service", service)?;
        let prefix = whole.strip_suffix(rest).unwrap_or(whole);
        Ok(Self {
            service,
            rest,
            prefix,
        })
    }

    /// The request target that the service sees once the prefix is stripped: `rest`, with a `/`
    /// in front when there is none.
    pub fn target(&self) -> Cow<'a, str> {
        match self.rest {
            "" => Cow::Borrowed("/"),
            rest if rest.starts_with('/') => Cow::Borrowed(rest),
            rest => Cow::Owned(format!("/{rest}")),
        }
    }
}

/// Whether this names a cluster or service: `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`, a DNS label
/// in lower case.
pub fn is_name(text: &str) -> bool {
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(|byte| inner(&byte))
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn name<'a>(field: &'static str, text: &'a str) -> Result<&'a str, ApiError> {
    if is_name(text) {
        return Ok(text);
    }
    let label = if field == "service" {
        "service"
    } else {
        "cluster"
    };
    Err(ApiError::new(
        ErrorCode::InvalidRequest,
        format!("Invalid {label} name in the path"),
    )
    .with_detail("field", field)
    .with_detail(
        "reason",
        "must match pattern ^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$, without percent-encoding",
    ))
}

fn not_found() -> ApiError {
    ApiError::new(ErrorCode::NotFound, "The path names no service")
}

fn check(path_and_query: &str) -> Result<(), ApiError> {
    let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    if !path_and_query.bytes().all(allowed) {
        return Err(refuse("forbidden character in the path or query"));
    }
    let path = path_and_query.split('?').next().unwrap_or_default();
    if has_dot_segment(path.as_bytes()) {
        return Err(refuse("dot segment in the path"));
    }
    Ok(())
}

fn refuse(reason: &'static str) -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, "The request's path is ambiguous")
        .with_detail("field", "path")
        .with_detail("reason", reason)
}

/// Whether any reader of this path could find a `.` or `..` segment (RFC 3986 section 3.3) in it.
///
/// Each octet is percent-decoded once. `/` and `\` end a segment, encoded or not, since servers
/// differ on both; `;` begins its parameters, which some servers cut off before they resolve dots
/// (`..;` in Tomcat). Once only: `%252e%252e` is the name `%2e%2e` to every reader that follows
/// RFC 3986 section 2.4, and refusing it would make such names, which Kubernetes and S3-like
/// stores allow, unreachable. A target that decodes twice is open to that without a tunnel too,
/// and can at most leave its own root, never reach another service.
fn has_dot_segment(path: &[u8]) -> bool {
    let mut dots = Some(0_u8);
    let mut rest = path;
    while let Some((byte, after)) = octet(rest) {
        rest = after;
        dots = match (byte, dots) {
            (b'/' | b'\\', Some(1 | 2)) => return true,
            (b'/' | b'\\', _) => Some(0),
            // Behind it only parameters follow, which keep the verdict on the segment open.
            (b';', Some(1 | 2)) => return true,
            (b'.', Some(count)) => count.checked_add(1),
            _ => None,
        };
    }
    matches!(dots, Some(1 | 2))
}

/// The first octet of a path, percent-decoded once, and what follows it. A `%` without two
/// hexadecimal digits stands for itself.
fn octet(path: &[u8]) -> Option<(u8, &[u8])> {
    if let [b'%', high, low, rest @ ..] = path
        && let (Some(high), Some(low)) = (hex(*high), hex(*low))
    {
        return Some((high << 4 | low, rest));
    }
    let (byte, rest) = path.split_first()?;
    Some((*byte, rest))
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code<T>(result: Result<T, ApiError>) -> Option<ErrorCode> {
        result.err().map(|err| err.code)
    }

    #[test]
    fn the_host_form_splits_at_the_service() {
        let cases = [
            ("/kubernetes", "kubernetes", "", "/"),
            ("/grafana/", "grafana", "/", "/"),
            ("/grafana?x=/../", "grafana", "?x=/../", "/?x=/../"),
            (
                "/a/b%2Fc//d/?e%zz",
                "a",
                "/b%2Fc//d/?e%zz",
                "/b%2Fc//d/?e%zz",
            ),
            ("/a-1//b", "a-1", "//b", "//b"),
        ];
        for (input, service, rest, target) in cases {
            let path = TunnelPath::of_host(input).unwrap();
            assert_eq!((path.service, path.rest), (service, rest), "{input}");
            assert_eq!(path.prefix, format!("/{service}"));
            assert_eq!(path.target(), target);
        }
    }

    #[test]
    fn the_path_form_gives_the_cluster_too() {
        let (cluster, path) =
            TunnelPath::of_cluster("/v1/clusters/c-1/tunnel/kubernetes/api?watch=1").unwrap();
        assert_eq!(cluster, "c-1");
        assert_eq!(path.service, "kubernetes");
        assert_eq!(path.rest, "/api?watch=1");
        assert_eq!(path.prefix, "/v1/clusters/c-1/tunnel/kubernetes");
    }

    #[test]
    fn names_are_dns_labels_as_they_stand() {
        let longest = "a".repeat(MAX_NAME);
        for good in ["a", "0", "a-b", "a--b", longest.as_str()] {
            assert!(is_name(good), "{good}");
        }
        let too_long = "a".repeat(MAX_NAME + 1);
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a.b",
            "a_b",
            "%61",
            "a b",
            "é",
            too_long.as_str(),
        ] {
            assert!(!is_name(bad), "{bad}");
        }
        let invalid = Some(ErrorCode::InvalidRequest);
        for bad in ["//a", "/A", "/%61/x", "/favicon.ico", "/a;b/x"] {
            assert_eq!(code(TunnelPath::of_host(bad)), invalid, "{bad}");
        }
        for bad in [
            "/v1/clusters//tunnel/a",
            "/v1/clusters/C/tunnel/a",
            "/v1/clusters/c/tunnel//a",
            "/v1/clusters/c/tunnel/",
        ] {
            assert_eq!(code(TunnelPath::of_cluster(bad)), invalid, "{bad}");
        }
    }

    #[test]
    fn other_paths_are_not_found() {
        for other in ["/", "/?a", "*", ""] {
            assert_eq!(code(TunnelPath::of_host(other)), Some(ErrorCode::NotFound));
        }
        for other in [
            "/",
            "/v1/clusters/c",
            "/v1/clusters/c/tunnels/a",
            "//v1/clusters/c/tunnel/a",
        ] {
            assert_eq!(
                code(TunnelPath::of_cluster(other)),
                Some(ErrorCode::NotFound)
            );
        }
    }

    #[test]
    fn dot_segments_are_refused_however_they_are_written() {
        for segment in [
            ".",
            "..",
            "%2e",
            "%2E",
            ".%2e",
            "%2e%2E",
            "..;",
            "..;a=b",
            ".;x",
            "..%3b",
            "%2e%2e%3Bx",
            "..%2f",
            "x%2f..",
            "..%2Fx",
            "x%2f%2e%2e%2fy",
            "..\\",
            "x\\..",
            "..%5c",
            "x%5C..%5cy",
        ] {
            for path in [
                format!("/a/{segment}"),
                format!("/a/b/{segment}/c?q"),
                format!("/{segment}/a"),
            ] {
                assert_eq!(
                    code(TunnelPath::of_host(&path)),
                    Some(ErrorCode::InvalidRequest),
                    "{path}"
                );
            }
        }
    }

    #[test]
    fn what_only_looks_like_dots_passes() {
        for segment in [
            "...",
            "%252e%252e",
            "..a",
            "a..",
            ".a",
            ";..",
            "a;..",
            "..%00",
            "%2e%2e%2e",
            "a%2fb",
            "%",
            "%2",
            "..%",
        ] {
            let path = format!("/a/{segment}/b");
            assert_eq!(
                TunnelPath::of_host(&path).unwrap().rest,
                format!("/{segment}/b")
            );
        }
        assert!(TunnelPath::of_host("/a?../%2e%2e/..").is_ok());
    }

    #[test]
    fn forbidden_characters_are_refused() {
        for path in [
            "/a/#", "/a?#", "/a/\0", "/a/ ", "/a/\x7f", "/a/\t", "/a/é", "/a?é",
        ] {
            assert_eq!(
                code(TunnelPath::of_host(path)),
                Some(ErrorCode::InvalidRequest)
            );
        }
    }

    proptest! {
        #[test]
        fn the_rest_is_the_exact_end_of_the_input(input in "/[a-z0-9-]{1,5}[ -~é]{0,30}") {
            if let Ok(path) = TunnelPath::of_host(&input) {
                prop_assert_eq!(format!("{}{}", path.prefix, path.rest), input.as_str());
                prop_assert!(path.target().starts_with('/'));
                prop_assert!(path.target().ends_with(path.rest));
            }
        }

        #[test]
        fn both_forms_agree(rest in "[ -~]{0,30}") {
            let input = format!("/a{rest}");
            let long = format!("/v1/clusters/c/tunnel/a{rest}");
            let host = TunnelPath::of_host(&input);
            let cluster = TunnelPath::of_cluster(&long).map(|(_, path)| path);
            prop_assert_eq!(host.as_ref().map(|p| (p.service, p.rest)).ok(),
                cluster.as_ref().map(|p| (p.service, p.rest)).ok());
        }

        /// Decoding once and resolving as RFC 3986 section 5.2.4 does finds nothing to resolve.
        #[test]
        fn what_passes_has_no_dots_left(rest in "(/|\\.|%2e|%2F|%5c|\\\\|;|a|%25){0,12}") {
            let input = format!("/a/{rest}");
            if TunnelPath::of_host(&input).is_ok() {
                let decoded = rest.replace("%2e", ".").replace("%2F", "/").replace("%5c", "/")
                    .replace('\\', "/");
                for segment in decoded.split('/') {
                    let bare = segment.split(';').next().unwrap();
                    prop_assert!(bare != "." && bare != "..", "{}", input);
                }
            }
        }

        #[test]
        fn never_panics(input in any::<String>()) {
            let _path = TunnelPath::of_host(&input);
            let _path = TunnelPath::of_cluster(&format!("/v1/clusters/{input}"));
        }
    }
}
