//! `pipeops-dev` as a newcomer runs it: the lines that it prints are run as they are printed.
#![cfg(test)]
#![cfg(all(feature = "agent", feature = "gateway"))]

#[path = "dev/running.rs"]
mod running;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use running::{Running, bash, command, pasted};

/// A free port and no cluster: nothing of the machine is touched.
const ALONE: [&str; 3] = ["--listen", "127.0.0.1:0", "--no-kubernetes"];

/// A folder whose name a shell would take apart.
fn folder() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("it's a trial ")
        .tempdir()
        .unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_printed_lines_work_as_printed() {
    let folder = folder();
    let dev = Running::start(folder.path(), &ALONE);
    assert!(
        dev.printed
            .contains("  Kubernetes  none: left out (--no-kubernetes)\n"),
        "{}",
        dev.printed
    );
    let by_host = pasted(dev.line(&["https://tunnel-dev.", "/demo/"]));
    assert!(
        by_host.contains("x-forwarded-prefix  /demo\n") && by_host.contains("x-request-id"),
        "{by_host}"
    );
    let by_path = pasted(dev.line(&["/v1/clusters/dev/tunnel/demo/"]));
    assert!(
        by_path.contains("x-forwarded-prefix  /v1/clusters/dev/tunnel/demo\n"),
        "{by_path}"
    );
    let events = bash(&format!("timeout 3 {}", dev.line(&["/demo/events"])));
    let events = String::from_utf8(events.stdout).unwrap();
    assert!(
        events.contains("id: 1\n") && events.contains("id: 2\n"),
        "{events}"
    );
    for line in dev.printed.lines().filter(|line| line.ends_with("/readyz")) {
        let ready = pasted(line);
        assert!(ready.starts_with(r#"{"status":"ready""#), "{line}: {ready}");
    }
    let metrics = pasted(dev.line(&["/metrics"]));
    assert!(metrics.contains("# TYPE "), "{metrics}");
    let download = dev.line(&["/demo/download"]);
    assert_eq!(
        pasted(&download.replace("curl ", "curl -w '%{size_download}' ")),
        "1073741824"
    );
}

#[test]
fn an_upload_and_headers_pass_and_the_token_does_not() {
    let folder = folder();
    let dev = Running::start(folder.path(), &ALONE);
    let line = dev.line(&["https://tunnel-dev.", "/demo/"]);
    let upload = line.replace(
        "curl ",
        "head -c 5000000 /dev/zero | curl --data-binary @- ",
    );
    let counted = pasted(&format!("{upload}upload"));
    let expected = pasted("head -c 5000000 /dev/zero | sha256sum | cut -d' ' -f1");
    assert!(
        counted.contains("\"bytes\": 5000000") && counted.contains(expected.trim()),
        "{counted}"
    );
    let headers = pasted(&format!("{line}headers"));
    assert!(
        headers.contains("x-forwarded-host") && !headers.contains("pipeops_user_"),
        "{headers}"
    );
    let without = line.split(" -H ").next().unwrap();
    let url = line.rsplit(' ').next().unwrap();
    assert!(pasted(&format!("{without} {url}")).contains("UNAUTHORIZED"));
}

#[test]
fn secrets_are_the_owners_alone() {
    let folder = folder();
    let state = folder.path().join("made");
    let _dev = Running::start(&state, &ALONE);
    assert_eq!(mode(&state), 0o700);
    for entry in fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        let expected = if path.ends_with("ca.crt") {
            0o644
        } else {
            0o600
        };
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
}

#[test]
fn the_state_is_used_again() {
    let folder = folder();
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    let names = ["ca.crt", "agent.token", "user.token"];
    let mut first = Running::start(folder.path(), &ALONE);
    let before = names.map(read);
    first.signal("INT");
    assert_eq!(first.wait().code(), Some(0));
    let mut second = Running::start(folder.path(), &ALONE);
    assert_eq!(names.map(read), before);
    pasted(second.line(&["https://tunnel-dev.", "/demo/"]));
    second.signal("TERM");
    assert_eq!(second.wait().code(), Some(0));
}

#[test]
fn a_drain_waits_for_what_is_under_way_and_a_second_signal_does_not() {
    let folder = folder();
    let mut dev = Running::start(folder.path(), &ALONE);
    let line = dev.line(&["/demo/events"]).to_owned();
    let mut client = Command::new("bash")
        .args(["-c", &format!("exec {line}")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 1];
    std::io::Read::read_exact(client.stdout.as_mut().unwrap(), &mut first).unwrap();
    dev.signal("INT");
    std::thread::sleep(Duration::from_millis(1500));
    assert!(client.try_wait().unwrap().is_none(), "the stream was cut");
    dev.signal("INT");
    assert_eq!(dev.wait().code(), Some(130));
    client.wait().unwrap();
}

#[test]
fn a_port_that_is_taken_is_an_error_only_if_it_was_asked_for() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = command(folder.path(), &["--listen", &address, "--no-kubernetes"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("error: can not listen on") && said.contains("--listen"),
        "{said}"
    );
    // Taken by us or by someone else: both will do.
    let _default = TcpListener::bind("127.0.0.1:8443");
    let dev = Running::start(folder.path(), &["--no-kubernetes"]);
    assert!(
        dev.printed.contains("Note: port 8443 is taken"),
        "{}",
        dev.printed
    );
    pasted(dev.line(&["https://tunnel-dev.", "/demo/"]));
}

#[test]
fn a_cluster_that_does_not_answer_is_named() {
    let folder = folder();
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: x, clusters: [{{name: c, cluster: {{server: 'http://{nobody}'}}}}], \
         users: [{{name: u, user: {{}}}}], contexts: [{{name: x, context: {{cluster: c, user: u}}}}]}}"
    );
    fs::write(&kubeconfig, text).unwrap();
    let args = [
        "--listen",
        "127.0.0.1:0",
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
    ];
    let dev = Running::start(&folder.path().join("state"), &args);
    let row = dev
        .printed
        .lines()
        .find(|line| line.contains("Kubernetes"))
        .unwrap();
    assert!(
        row.contains(&format!("none: http://{nobody}")) && row.contains("refused"),
        "{row}"
    );
    assert!(!dev.printed.contains("kubectl"), "{}", dev.printed);
}

#[tokio::test]
async fn a_web_socket_echoes_and_closes_with_the_same_code() {
    let folder = folder();
    let dev = Running::start(folder.path(), &ALONE);
    let url = dev
        .line(&["/v1/clusters/dev/tunnel/demo/"])
        .rsplit(' ')
        .next()
        .unwrap();
    let authority = url
        .strip_prefix("https://")
        .unwrap()
        .split('/')
        .next()
        .unwrap();
    let ca = CertificateDer::from_pem_file(folder.path().join("ca.crt")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(ca).unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(authority).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let tls = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .unwrap();
    let mut request = format!("wss://{}echo", url.strip_prefix("https://").unwrap())
        .into_client_request()
        .unwrap();
    let token = fs::read_to_string(folder.path().join("user.token")).unwrap();
    request
        .headers_mut()
        .insert("authorization", format!("Bearer {token}").parse().unwrap());
    let (mut socket, answer) = tokio_tungstenite::client_async(request, tls).await.unwrap();
    assert_eq!(answer.status(), 101);
    let large = Message::binary((0..=255).cycle().take(300_000).collect::<Vec<u8>>());
    for message in [Message::text("grüß dich"), Message::text(""), large] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    let code = CloseCode::Library(4711);
    socket
        .close(Some(CloseFrame {
            code,
            reason: "done".into(),
        }))
        .await
        .unwrap();
    let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else {
        panic!("no close")
    };
    assert_eq!(frame.code, code);
    assert!(socket.next().await.is_none());
}
