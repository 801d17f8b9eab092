use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const HEAD: &str = "GET / HTTP/1.1\r\nHost: a\r\n";

/// Clean heads and the violation, fed in slices of at most `size` bytes.
fn scan_by(bytes: &[u8], size: usize) -> (u32, Option<Violation>) {
    let mut scanner = Scanner::new();
    let clean = bytes.chunks(size).map(|part| scanner.feed(part)).sum();
    (clean, scanner.violation())
}

fn scan(text: &str) -> (u32, Option<Violation>) {
    let whole = scan_by(text.as_bytes(), usize::MAX);
    assert_eq!(whole, scan_by(text.as_bytes(), 1), "{text:?} byte by byte");
    whole
}

fn with_headers(headers: &str) -> (u32, Option<Violation>) {
    scan(&format!("{HEAD}{headers}\r\n"))
}

#[test]
fn clean_requests_are_counted_across_their_bodies() {
    let text = "\r\n\r\nPOST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /\
        PUT /b?c HTTP/1.1\r\nhost:a\r\ntransfer-encoding:\tChunked \r\n\r\n\
        3;x=\"y\"\r\nGET\r\n00A \r\n0123456789\r\n0\r\nT: v\r\nU: w\r\n\r\n\
        GET / HTTP/1.0\r\n\r\n\
        GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n\r\n\
        GET / HTTP/1.1\r\nHost: a\r\n";
    assert_eq!(scan(text), (4, None));
    assert_eq!(scan(&format!("{text}\r\n")), (5, None));
}

#[test]
fn what_two_parsers_read_differently_is_refused() {
    use Violation as V;
    let cases = [
        (
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            V::BothLengths,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
            V::BothLengths,
        ),
        (
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            V::ContentLength,
        ),
        ("Content-Length: +1\r\n", V::ContentLength),
        ("Content-Length: 1, 1\r\n", V::ContentLength),
        ("Content-Length:\r\n", V::ContentLength),
        ("Content-Length: 18446744073709551616\r\n", V::ContentLength),
        (
            "Content-Length: 000000000000000000000000000000001\r\n",
            V::ContentLength,
        ),
        ("Transfer-Encoding: gzip, chunked\r\n", V::TransferEncoding),
        (
            "Transfer-Encoding: chunked, identity\r\n",
            V::TransferEncoding,
        ),
        ("Transfer-Encoding: \x0bchunked\r\n", V::HeaderValue),
        ("Transfer-Encoding:\r\n", V::TransferEncoding),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            V::TransferEncoding,
        ),
        (" Folded: x\r\n", V::ObsFold),
        ("A: b\r\n\tc\r\n", V::ObsFold),
        ("A: b\rc\r\n", V::BareCr),
        ("A: b\n", V::BareLf),
        ("A: b\r\n\n", V::BareLf),
        ("A : b\r\n", V::WhitespaceBeforeColon),
        ("A\r\n", V::HeaderName),
        (": b\r\n", V::HeaderName),
        ("A(: b\r\n", V::HeaderName),
        ("A: \0\r\n", V::Nul),
        ("A\0: b\r\n", V::Nul),
        ("A: \x01\r\n", V::HeaderValue),
        ("Host: a\r\n", V::DuplicateHost),
    ];
    for (headers, violation) in cases {
        assert_eq!(with_headers(headers), (0, Some(violation)), "{headers:?}");
    }
}

#[test]
fn request_lines_are_read_strictly() {
    use Violation as V;
    let cases = [
        ("GET /a b HTTP/1.1\r\n", V::RequestLine),
        ("GET  / HTTP/1.1\r\n", V::RequestLine),
        ("GET /\tHTTP/1.1\r\n", V::Target),
        ("GET /\u{e9} HTTP/1.1\r\n", V::Target),
        ("GET /# HTTP/1.1\r\n", V::Target),
        ("GET /\0 HTTP/1.1\r\n", V::Nul),
        ("GET / HTTP/1.2\r\n", V::RequestLine),
        ("GET / HTTP/1.1 \r\n", V::RequestLine),
        ("GET / HTTP/1.1\n", V::BareLf),
        ("GET / HTTP/1.1\rX", V::BareCr),
        ("GET /\r\n", V::Target),
        (" GET / HTTP/1.1\r\n", V::RequestLine),
        ("G(T / HTTP/1.1\r\n", V::RequestLine),
        ("\nGET / HTTP/1.1\r\n", V::BareLf),
        ("\rGET / HTTP/1.1\r\n", V::BareCr),
        ("GET / HTTP/1.1\r\n\r\n", V::MissingHost),
        (
            "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            V::TransferEncodingIn10,
        ),
    ];
    for (text, violation) in cases {
        assert_eq!(scan(text), (0, Some(violation)), "{text:?}");
    }
}

#[test]
fn equal_lengths_and_long_fields_are_clean() {
    let long = "x".repeat(10_000);
    let headers = format!("Content-Length: 3\r\n{long}: {long}\r\nContent-Length: 03 \r\n");
    assert_eq!(with_headers(&headers), (1, None));
    assert_eq!(with_headers("A: \u{e9}\t\r\n"), (1, None));
    assert_eq!(
        with_headers("Content-Length: 18446744073709551615\r\n"),
        (1, None)
    );
}

#[test]
fn bad_chunks_are_recorded() {
    for body in [
        "x",
        "\r\n",
        "1\nab",
        "1\r\nab",
        "1\r\na\rx",
        "1 2\r\n",
        "1;\n",
        "1\r\r",
        "0\r\n\n",
        "0\r\nA: b\n",
        "0\r\n\rx",
        "11111111111111111\r\n",
        "-1\r\n",
    ] {
        let text = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n{body}");
        assert_eq!(scan(&text), (1, Some(Violation::Chunked)), "{body:?}");
    }
}

#[test]
fn a_request_to_switch_protocols_ends_the_scan() {
    for text in [
        "GET / HTTP/1.1\r\nHost: a\r\nupgrade: x\r\nContent-Length: 9\r\n\r\n\n\0\r",
        "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n\0\0",
    ] {
        assert_eq!(scan(text), (1, None));
    }
    let mut scanner = Scanner::new();
    scanner.feed(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n");
    assert!(scanner.is_open());
    let mut headers = HeaderMap::new();
    assert!(is_last(&Method::CONNECT, &headers) && !is_last(&Method::GET, &headers));
    headers.insert(UPGRADE, http::HeaderValue::from_static("x"));
    assert!(is_last(&Method::GET, &headers));
}

#[test]
fn the_violation_becomes_a_400_that_says_why() {
    let err = ApiError::from(Violation::BothLengths);
    assert_eq!(err.code.status(), 400);
    assert_eq!(
        err.details["reason"],
        "both Content-Length and Transfer-Encoding"
    );
}

/// hyper wants this of a connection that it can hand over after an upgrade.
#[test]
fn a_guard_of_what_can_be_sent_can_be_sent() {
    fn assert_send<T: Send + 'static>(_: &T) {}
    assert_send(&Guard::new(tokio::io::empty()).0);
}

#[test]
fn a_scanner_is_small() {
    assert!(size_of::<Scanner>() < 200);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
}

/// What a hyper server behind a guard did with a connection's bytes.
#[derive(Debug, Default)]
struct Served {
    verdicts: Vec<Option<Violation>>,
    broken_bodies: usize,
    left: u32,
    ended_well: bool,
}

/// Serves the bytes with hyper, which reads them in slices of at most `size`.
fn serve(bytes: &[u8], size: usize) -> Served {
    runtime().block_on(async {
        let (mut client, server) = tokio::io::duplex(size);
        let (guard, heads) = Guard::new(server);
        let seen = Rc::new(RefCell::new(Served::default()));
        let service = {
            let (heads, seen) = (heads.clone(), Rc::clone(&seen));
            service_fn(move |request: Request<Incoming>| {
                let seen = Rc::clone(&seen);
                seen.borrow_mut().verdicts.push(heads.next());
                async move {
                    let broken = request.into_body().collect().await.is_err();
                    seen.borrow_mut().broken_bodies += usize::from(broken);
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
                }
            })
        };
        let connection = hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .serve_connection(TokioIo::new(guard), service);
        let drive = async {
            let (mut from, mut to) = tokio::io::split(&mut client);
            let mut answer = Vec::new();
            let send = async {
                // The server may hang up before it has read everything.
                let _sent = to.write_all(bytes).await;
                let _shut = to.shutdown().await;
            };
            let (_, read) = tokio::join!(send, from.read_to_end(&mut answer));
            read.unwrap();
        };
        let (result, ()) = tokio::join!(connection, drive);
        Served {
            left: heads.outstanding(),
            ended_well: result.is_ok(),
            ..seen.take()
        }
    })
}

#[test]
fn hyper_serves_what_it_should_and_the_service_hears_what_it_should_not() {
    let smuggled = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 44\r\n\
        Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let served = serve(format!("{HEAD}\r\n{smuggled}").as_bytes(), 64);
    assert_eq!(served.verdicts, [None, Some(Violation::BothLengths)]);
}

#[test]
fn a_bad_chunk_breaks_the_body_even_where_hyper_would_take_it() {
    let head = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n0\r\n");
    let served = serve(format!("{head}A: b\r\nC: d\r\n\r\n").as_bytes(), 64);
    assert_eq!((served.verdicts, served.broken_bodies), (vec![None], 0));
    let served = serve(format!("{head}A: b\nC: d\r\n\r\n").as_bytes(), 8);
    assert_eq!((served.verdicts, served.broken_bodies), (vec![None], 1));
}

#[test]
fn a_flood_of_pipelined_requests_fails_the_read() {
    runtime().block_on(async {
        let flood = format!("{HEAD}\r\n").repeat(MAX_OUTSTANDING as usize + 1);
        let (mut guard, _heads) = Guard::new(flood.as_bytes());
        let mut sink = Vec::new();
        let err = guard.read_to_end(&mut sink).await.unwrap_err();
        assert_eq!(err.kind(), std::io::ErrorKind::InvalidData);
    });
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let head =
        ("[A-Z]{1,7}", "/[a-z%/.?=&-]{0,20}", "[!-~]{0,40}").prop_map(|(method, target, value)| {
            let method = if method == "CONNECT" {
                "GET".into()
            } else {
                method
            };
            format!(
                "{method} {target} HTTP/1.1\r\nHost: a\r\nX-{}: {value}\r\n",
                method.to_lowercase()
            )
        });
    let chunks = vec(vec(any::<u8>(), 1..40), 0..4);
    (
        head,
        chunks,
        0..4_u8,
        "(;[a-z]{0,5})?",
        "([A-Z]{1,3}: [a-z]{0,5}\r\n){0,2}",
    )
        .prop_map(|(head, chunks, kind, extension, trailers)| {
            let mut out = head.into_bytes();
            match kind {
                0 => out.extend(b"\r\n"),
                1 => {
                    let body = chunks.concat();
                    out.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
                    out.extend(body);
                }
                _ => {
                    out.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                    for chunk in chunks {
                        out.extend(format!("{:x}{extension}\r\n", chunk.len()).bytes());
                        out.extend(chunk);
                        out.extend(b"\r\n");
                    }
                    out.extend(format!("0\r\n{trailers}\r\n").bytes());
                }
            }
            out
        })
}

/// Bytes that mean something to a parser, to put in the wrong place.
const SHARP: &[&str] = &[
    "\r",
    "\n",
    "\r\n",
    " ",
    "\t",
    ":",
    "0",
    "\0",
    ";",
    "Content-Length: 3\r\n",
    "#",
    "\r\n\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Host: b\r\n",
    "HTTP/1.0",
    "Upgrade: x\r\n",
    "GET / HTTP/1.1\r\n",
];

proptest! {
    #[test]
    fn any_split_gives_the_same_verdicts(requests in vec(request(), 1..5), size in 1..50_usize) {
        let bytes = requests.concat();
        let (clean, violation) = scan_by(&bytes, size);
        prop_assert_eq!((clean as usize, violation), (requests.len(), None));
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..300), size in 1..20_usize) {
        prop_assert_eq!(scan_by(&bytes, size), scan_by(&bytes, usize::MAX));
    }

    #[test]
    fn hyper_sees_as_many_heads(requests in vec(request(), 1..5), size in 1..200_usize) {
        let served = serve(&requests.concat(), size);
        prop_assert_eq!(served.verdicts, vec![None; requests.len()]);
        prop_assert_eq!(served.left, 0);
    }

    /// Whatever is put in the wrong place, hyper never serves a head that the scanner, still in
    /// agreement, took for something else.
    #[test]
    fn no_head_gets_past_the_scanner(
        requests in vec(request(), 1..4),
        size in 1..200_usize,
        edits in vec((any::<proptest::sample::Index>(), 0..SHARP.len(), any::<bool>()), 1..4),
    ) {
        let mut bytes = requests.concat();
        for (at, sharp, replace) in edits {
            let at = at.index(bytes.len());
            bytes.splice(at..at + usize::from(replace), SHARP[sharp].bytes());
        }
        let mut scanner = Scanner::new();
        scanner.feed(&bytes);
        let served = serve(&bytes, size);
        if !scanner.is_open() {
            prop_assert!(!served.verdicts.contains(&Some(Violation::Unscanned)), "{:?}", served);
        }
        // hyper may still refuse what the scanner lets pass, and hangs up then.
        let served_all = served.ended_well && served.broken_bodies == 0;
        if scanner.violation().is_none() && !scanner.is_open() && served_all {
            prop_assert_eq!(served.left, 0);
        }
    }
}
