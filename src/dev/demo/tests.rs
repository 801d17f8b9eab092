//! The service as a client sees it, on its own port.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

async fn exchange(request: &str) -> String {
    let demo = Demo::start().await.unwrap();
    let mut socket = TcpStream::connect(demo.address()).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get(path: &str, more: &str) -> String {
    exchange(&format!(
        "GET {path} HTTP/1.1\r\nhost: demo\r\nconnection: close\r\n{more}\r\n"
    ))
    .await
}

async fn send(method: &str, path: &str) -> String {
    exchange(&format!(
        "{method} {path} HTTP/1.1\r\nhost: demo\r\nconnection: close\r\n\r\n"
    ))
    .await
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[tokio::test]
async fn a_browser_gets_a_page_and_others_text() {
    let page = get("/", "accept: text/html,*/*\r\nx-request-id: r-7\r\n").await;
    assert!(
        page.contains("content-type: text/html") && page.contains("<td>r-7</td>"),
        "{page}"
    );
    assert!(
        page.contains("content-security-policy: default-src 'none'"),
        "{page}"
    );
    let text = get("/", "accept: */*\r\nx-request-id: r-7\r\n").await;
    assert!(
        text.contains("content-type: text/plain") && text.contains("x-request-id        r-7"),
        "{text}"
    );
}

#[tokio::test]
async fn heads_have_no_body_and_say_the_length() {
    let head = send("HEAD", "/download?bytes=12345").await;
    assert!(
        head.starts_with("HTTP/1.1 200") && head.contains("content-length: 12345\r\n"),
        "{head}"
    );
    assert_eq!(body(&head), "");
    for path in ["/", "/headers", "/events"] {
        let head = send("HEAD", path).await;
        assert!(
            head.starts_with("HTTP/1.1 200") && body(&head).is_empty(),
            "{head}"
        );
    }
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    for (method, path, allow) in [
        ("POST", "/", "GET, HEAD"),
        ("DELETE", "/download", "GET, HEAD"),
        ("GET", "/upload", "POST"),
        ("HEAD", "/echo", "GET"),
    ] {
        let answer = send(method, path).await;
        assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
        assert!(
            answer.contains(&format!("\r\nallow: {allow}\r\n")),
            "{answer}"
        );
    }
    let answer = send("GET", "/nowhere").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let json: Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(json.pointer("/error/code").unwrap(), "NOT_FOUND");
    assert!(send("GET", "/echo").await.starts_with("HTTP/1.1 426"));
}

#[tokio::test]
async fn the_headers_are_shown_without_secrets() {
    let more = "authorization: Bearer pipeops_user_x\r\ncookie: session=y\r\nx-a: 1\r\nx-a: 2\r\n";
    let answer = get("/headers", more).await;
    assert!(
        !answer.contains("pipeops_user_x") && !answer.contains("session"),
        "{answer}"
    );
    let json: Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(json.pointer("/headers/x-a").unwrap(), "1, 2");
}

#[tokio::test]
async fn downloads_have_limits() {
    for bytes in ["-1", "x", "", "1099511627777", "99999999999999999999999"] {
        let answer = send("GET", &format!("/download?bytes={bytes}")).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{bytes}: {answer}");
    }
    let answer = send("GET", "/download?bytes=16").await;
    assert_eq!(
        body(&answer).as_bytes(),
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8]
    );
}

#[tokio::test]
async fn uploads_are_counted_and_hashed() {
    let request = "POST /upload HTTP/1.1\r\nhost: demo\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n0\r\n\r\n";
    let answer = exchange(request).await;
    let json: Value = serde_json::from_str(body(&answer)).unwrap();
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(json, json!({"bytes": 3, "sha256": sha256}));
}

#[tokio::test(start_paused = true)]
async fn events_count_on_where_a_client_left_off() {
    let demo = Demo::start().await.unwrap();
    let mut socket = TcpStream::connect(demo.address()).await.unwrap();
    socket
        .write_all(b"GET /events HTTP/1.1\r\nhost: demo\r\nlast-event-id: 41\r\n\r\n")
        .await
        .unwrap();
    let mut seen = String::new();
    while !seen.contains("id: 44\n") {
        let mut buffer = [0; 4096];
        let read = socket.read(&mut buffer).await.unwrap();
        assert!(read > 0, "{seen}");
        seen.push_str(str::from_utf8(&buffer[..read]).unwrap());
    }
    assert!(seen.contains("content-type: text/event-stream"), "{seen}");
    assert!(seen.contains("id: 42\ndata: {\"number\":42,"), "{seen}");
}

#[tokio::test]
async fn a_demo_that_is_dropped_cuts_its_connections() {
    let demo = Demo::start().await.unwrap();
    let mut socket = TcpStream::connect(demo.address()).await.unwrap();
    socket
        .write_all(b"GET /events HTTP/1.1\r\nhost: demo\r\n\r\n")
        .await
        .unwrap();
    assert!(socket.read(&mut [0; 64]).await.unwrap() > 0);
    drop(demo);
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), socket.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection goes on");
}
