//! Our agent at a platform that is none of ours: Python's `websockets`, and nothing but the reference's messages.

#![allow(clippy::too_many_lines, reason = "one story")]

use crate::common::{DEADLINE, process::Process, root, temp_dir};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
};

#[test]
fn the_references_commands_are_taken_without_a_welcome() {
    let folder = temp_dir("plain");
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(["localhost".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let (cert_file, key_file) = (folder.join("tls.crt"), folder.join("tls.key"));
    fs::write(&cert_file, cert.pem()).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    let mut platform = Command::new("/usr/bin/python3")
        .arg(root().join("tests/platform/plain_platform.py"))
        .args([&cert_file, &key_file])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut say = platform.stdin.take().unwrap();
    let (sender, lines) = mpsc::channel();
    let output = BufReader::new(platform.stdout.take().unwrap());
    thread::spawn(move || {
        output
            .lines()
            .map_while(Result::ok)
            .all(|line| sender.send(line).is_ok())
    });
    let port = lines.recv_timeout(DEADLINE).unwrap();

    let config = folder.join("config.yaml");
    let settings = json!({"pipeops": {"api_url": format!("https://localhost:{port}"), "token": "t", "ca_file": cert_file},
        "kubernetes": {"enabled": false}, "admin": {"listen": "127.0.0.1:0"},
        "monitoring": {"enabled": false}, "log": {"format": "json"}});
    fs::write(&config, settings.to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipeops-agent"));
    let _agent = Process::spawn("agent", command.arg("--config").arg(config));

    let hear = |kind: &str| loop {
        let line = lines
            .recv_timeout(DEADLINE)
            .unwrap_or_else(|e| panic!("no {kind}: {e}"));
        let message: Value = serde_json::from_str(&line).unwrap();
        if message["type"] == kind {
            return message;
        }
    };
    // Before anything was said to it.
    assert_eq!(hear("heartbeat")["payload"]["status"], "healthy");
    let text = fs::read_to_string(root().join("tests/platform/reference.json")).unwrap();
    let messages: Vec<Value> = serde_json::from_str(&text).unwrap();
    for (command, result) in
        messages
            .iter()
            .skip(3)
            .zip(["deploy_result", "exec_result", "logs_end"])
    {
        writeln!(say, "{command}").unwrap();
        assert_eq!(hear("ack")["payload"]["command_id"], command["id"]);
        let ended = hear(result);
        assert_eq!(ended["payload"]["command_id"], command["id"]);
        // There is no cluster behind this agent, and it says so.
        assert_eq!(ended["payload"]["outcome"], "refused", "{ended}");
        assert!(
            ended["payload"]["error"]["message"]
                .as_str()
                .unwrap()
                .contains("kubernetes.enabled"),
            "{ended}"
        );
        // It is carried out once.
        writeln!(say, "{command}").unwrap();
        assert_eq!(hear("ack")["payload"]["command_id"], command["id"]);
    }
    platform.kill().unwrap();
    platform.wait().unwrap();
}
