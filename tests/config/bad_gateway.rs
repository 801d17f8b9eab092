//! Configurations that a gateway refuses, what it says, and files that are no configuration at all.

use pipeops_tunnel::agent::config::AgentConfig;
use pipeops_tunnel::gateway::config::GatewayConfig;

use crate::program::{load, read};
use crate::table::page;

/// What the schema alone refuses.
pub const VALUES: &[(&str, &str)] = &[
    ("an address by name", "listen: localhost:8443"),
    ("a port alone", "listen: 8443"),
    ("an address without a port", "listen: 0.0.0.0"),
    ("no address", "listen:"),
    ("a plain listener by name", "http_listen: localhost:80"),
    ("a domain with a wildcard", "domain: '*.example.com'"),
    ("a domain with a port", "domain: example.com:443"),
    ("an empty domain", "domain: ''"),
    ("a domain that is a URL", "domain: https://example.com"),
    (
        "a URL with a password",
        "public_url: https://u:p@example.com",
    ),
    ("http", "public_url: http://example.com"),
    ("a host with a path", "hosts: [example.com/x]"),
    ("a host that is a number", "hosts: [10.1, a]"),
    ("hosts as text", "hosts: example.com"),
    ("a folder that is a list", "state_dir: [a]"),
    ("no threads", "threads: 0"),
    ("half a thread", "threads: 1.5"),
    ("fewer than no threads", "threads: -1"),
    ("too many threads", "threads: 5000"),
    ("threads in quotes", "threads: '4'"),
    ("a mistyped section", "tsl: {self_signed: true}"),
    ("a mistyped key", "tls: {certfile: /c}"),
    ("self_signed as text", "tls: {self_signed: please}"),
    ("an unknown key of admin", "admin: {port: 8081}"),
    ("an admin address", "admin: {listen: 'x:y'}"),
    (
        "a metrics address",
        "monitoring: {prometheus: {listen: 9092}}",
    ),
    ("a drain in words", "drain_timeout: long"),
    ("a log level", "log: {level: loud}"),
    ("an agent's key", "tunnel: {enabled: true}"),
];

#[test]
fn values_and_keys() {
    insta::assert_snapshot!("gateway_values", page::<GatewayConfig>(VALUES));
}

#[test]
fn what_no_single_value_shows() {
    let cases = [
        (
            "one address for both listeners",
            "listen: 127.0.0.1:8000\nhttp_listen: 127.0.0.1:8000\ntls: {self_signed: true}\n",
        ),
        ("no certificate", "domain: example.com"),
        (
            "no certificate in an empty section",
            "domain: example.com\ntls: {}\n",
        ),
        ("a certificate without a key", "tls:\n  cert_file: /c\n"),
        ("a key without a certificate", "tls:\n  key_file: /k\n"),
        (
            "two ways to a certificate",
            "tls:\n  cert_file: /c\n  key_file: /k\n  self_signed: true\n",
        ),
        (
            "both forms of the admin token",
            "tls: {self_signed: true}\nadmin: {token: canary, token_file: /t}\n",
        ),
        (
            "a long drain",
            "tls: {self_signed: true}\ndrain_timeout: 25h\n",
        ),
    ];
    insta::assert_snapshot!("gateway_together", page::<GatewayConfig>(&cases));
}

fn first(text: impl AsRef<[u8]>) -> (String, Option<usize>, Option<usize>) {
    let problems = read::<AgentConfig>(text).unwrap_err();
    let problem = &problems.list()[0];
    (problem.reason.clone(), problem.line, problem.column)
}

#[test]
fn files_that_are_no_text() {
    let (reason, line, column) = first(b"log:\n  level: \xff\n");
    assert_eq!(reason, "the file is not UTF-8 from here on");
    assert_eq!((line, column), (Some(2), Some(10)));
    let large = first(" ".repeat(1024 * 1024 + 1)).0;
    assert!(
        large.starts_with("the file has more than 1048576 bytes"),
        "{large}"
    );
    let missing = load::<AgentConfig>(&["--config", "/nowhere/c.yaml"], &[]).unwrap_err();
    let text = missing.to_string();
    assert!(
        text.starts_with("error: can not read the file: ") && text.contains("--> /nowhere/c.yaml"),
        "{text}"
    );
    assert!(load::<AgentConfig>(&["--config", "/"], &[]).is_err());
}

#[test]
fn files_that_grow_when_read() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
        bomb.push_str(&format!("a{n}: &a{n} [{aliases}]\n"));
    }
    assert!(
        first(bomb)
            .0
            .starts_with("there are more than 50000 values")
    );
    let deep = format!("agent: {}", "{a: ".repeat(10_000));
    assert_eq!(first(deep).0, "this is nested more than 64 levels deep");
}

#[test]
fn an_empty_file_says_nothing() {
    for text in ["", "# all of it is commented out\n", "---\n", "{}"] {
        assert!(read::<AgentConfig>(text).is_ok(), "{text:?}");
    }
}

#[test]
fn more_problems_than_anybody_reads_are_counted() {
    let text: String = (0..5000).map(|n| format!("zz{n}: canary\n")).collect();
    let problems = read::<AgentConfig>(text).unwrap_err();
    assert_eq!(problems.list().len(), 100);
    assert_eq!(problems.list()[0].line, Some(1));
    assert!(
        problems
            .to_string()
            .ends_with("error: and 4900 more problems")
    );
}
