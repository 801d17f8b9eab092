//! The page: what the tunnel did to this request, and the other paths to try, as HTML for a browser
//! and as text for everything else.

use std::sync::LazyLock;

use data_encoding::BASE64;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use sha2::{Digest, Sha256};

use super::{Body, response};

const TEMPLATE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");

/// What the tunnel adds to a request.
const TUNNEL: [&str; 6] = [
    "x-request-id",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-prefix",
    "forwarded",
];

const TEXT: &str = "
Try also, below the same URL:
  events            a numbered event each second (curl -N)
  download?bytes=N  N bytes, 1 GiB without N
  upload            counts and hashes what is POSTed (curl --data-binary @FILE)
  headers           this request as it arrived, as JSON
  echo              a WebSocket that sends back what comes
In a browser this is a page that uses them.
";

/// Only what stands in the page itself may run, and it may only talk to where it came from.
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let script = BASE64.encode(&Sha256::digest(SCRIPT));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{script}'; style-src 'unsafe-inline'; img-src data:; \
         connect-src 'self'; form-action 'none'; base-uri 'self'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).ok()
});

/// The page, in the form that the client can show.
pub(super) fn respond(request: &Request<Incoming>) -> Response<Body> {
    let accept = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let mut response = if accept.is_some_and(|accept| accept.contains("text/html")) {
        response(
            StatusCode::OK,
            "text/html; charset=utf-8",
            html(request.headers()),
        )
    } else {
        response(
            StatusCode::OK,
            "text/plain; charset=utf-8",
            text(request.headers()),
        )
    };
    let fields = response.headers_mut();
    fields.insert(header::VARY, HeaderValue::from_static("Accept"));
    if let Some(policy) = &*POLICY {
        fields.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
    }
    response
}

/// Name and value of each field that the tunnel added.
fn added(fields: &HeaderMap) -> impl Iterator<Item = (HeaderName, &str)> {
    TUNNEL.into_iter().filter_map(|name| {
        let value = fields.get(name)?.to_str().ok()?;
        Some((HeaderName::from_static(name), value))
    })
}

fn text(fields: &HeaderMap) -> String {
    let mut text = String::from("Hello from the demo service. ");
    text.push_str(if added(fields).next().is_some() {
        "The tunnel added to this request:\n"
    } else {
        "This request did not come through the tunnel.\n"
    });
    for (name, value) in added(fields) {
        text.push_str(&format!("  {:<20}{value}\n", name.as_str()));
    }
    text + TEXT
}

fn html(fields: &HeaderMap) -> String {
    let mut rows = String::new();
    for (name, value) in added(fields) {
        rows.push_str(&format!(
            "<tr><th>{name}</th><td>{}</td></tr>",
            escaped(value)
        ));
    }
    let heading = if rows.is_empty() {
        rows = "<tr><td>nothing: this request did not come through it</td></tr>".to_owned();
        "The demo service, without the tunnel"
    } else {
        "You have come through the tunnel"
    };
    let base = format!("{}/", escaped(prefix(fields)));
    // What came from the client goes in last: it must not be taken for a place of its own.
    TEMPLATE
        .replace("{{script}}", SCRIPT)
        .replace("{{heading}}", heading)
        .replace("{{base}}", &base)
        .replace("{{rows}}", &rows)
}

/// What the tunnel cut from the path: the page's own address ends there, with or without a slash.
fn prefix(fields: &HeaderMap) -> &str {
    let given = fields
        .get("x-forwarded-prefix")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let plain = given.starts_with('/') && !given.starts_with("//");
    if plain {
        given.trim_end_matches('/')
    } else {
        ""
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn links_stay_below_the_prefix() {
        for (given, base) in [
            ("/demo", "/demo/"),
            ("/demo/", "/demo/"),
            ("//evil.example", "/"),
            ("x", "/"),
        ] {
            let page = html(&fields(&[("x-forwarded-prefix", given)]));
            assert!(page.contains(&format!("<base href=\"{base}\">")), "{given}");
        }
        assert!(html(&HeaderMap::new()).contains("<base href=\"/\">"));
    }

    #[test]
    fn what_a_client_sends_is_no_markup() {
        let page = html(&fields(&[(
            "x-forwarded-host",
            "<script>alert('1')</script>",
        )]));
        assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)"));
        assert!(!page.contains("<script>alert"));
    }

    #[test]
    fn nothing_is_fetched_from_elsewhere() {
        assert!(!TEMPLATE.contains("://") && !SCRIPT.contains("://"));
        assert!(POLICY.is_some());
    }

    #[test]
    fn text_says_what_was_added() {
        let shown = text(&fields(&[("x-request-id", "r1"), ("cookie", "secret")]));
        assert!(shown.contains("x-request-id        r1") && !shown.contains("secret"));
        assert!(text(&HeaderMap::new()).contains("did not come through"));
    }
}
