//! port-forward with several connections at once.

use crate::{
    common::{
        DEADLINE,
        sum::{Seeded, Sum},
    },
    env::{Env, Form, Role},
    exec::no_fallback,
};
use serde_json::json;
use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Barrier,
    thread,
};

by_both_forms!(port_forward_carries_connections_at_once);

const CONNECTIONS: usize = 8;
const LEN: u64 = 2 << 20;

fn port_forward_carries_connections_at_once(env: &'static Env, form: Form) {
    let space = env.namespace("forward");
    let ready = json!({"readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}});
    space.pod_with("web", "mkdir /www; exec httpd -f -p 8080 -h /www", ready);
    for n in 0..CONNECTIONS {
        space.upload("web", &format!("/www/{n}"), Seeded::new(n as u64, LEN));
    }
    for websockets in ["true", "false"] {
        let kubectl = space
            .kubectl(Role::Editor, form)
            .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets);
        let mut forward = kubectl.spawn("-v=4 port-forward pod/web :8080");
        let port = forward.wait_line("Forwarding from", |line| {
            line.strip_prefix("Forwarding from 127.0.0.1:")?
                .split(' ')
                .next()?
                .parse::<u16>()
                .ok()
        });
        for _ in 0..2 {
            fetch_at_once(port);
        }
        no_fallback(&forward.output());
        forward.signal("INT");
        forward.wait_exit(DEADLINE);
    }
}

/// Opens every connection before any asks for its own file.
fn fetch_at_once(port: u16) {
    let all_open = Barrier::new(CONNECTIONS);
    thread::scope(|scope| {
        for n in 0..CONNECTIONS {
            let all_open = &all_open;
            scope.spawn(move || {
                let mut tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
                tcp.set_read_timeout(Some(DEADLINE)).unwrap();
                all_open.wait();
                write!(tcp, "GET /{n} HTTP/1.0\r\n\r\n").unwrap();
                let mut answer = Vec::new();
                tcp.read_to_end(&mut answer).unwrap();
                let head = answer
                    .windows(4)
                    .position(|w| w == b"\r\n\r\n")
                    .expect("an HTTP head")
                    + 4;
                let expected = Sum::of(&Seeded::bytes(n as u64, LEN));
                let got = Sum::of(&answer[head..]);
                assert_eq!(
                    (got.len, got.hex()),
                    (LEN, expected.hex()),
                    "connection {n}"
                );
            });
        }
    });
}
