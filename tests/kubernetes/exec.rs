//! exec and attach, over WebSocket and over SPDY.

use crate::{
    common::{
        kubectl::Kubectl,
        sum::{Seeded, Sum},
    },
    env::{Env, Form, IDLE, Role},
};
use serde_json::json;
use std::io::{Cursor, Write};

by_both_forms!(output_and_exit_code_are_kept, standard_input_ends, attach);

/// The protocols of exec, attach and cp; see [`no_fallback`].
const TRANSPORTS: [(&str, &str); 2] = [("websocket", "true"), ("spdy", "false")];

/// kubectl that uses only this transport, or says in its log that it did not.
fn over(kubectl: Kubectl, websockets: &str) -> Kubectl {
    kubectl.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets)
}

/// With `-v=4` kubectl says when a WebSocket did not open and it took SPDY,
/// which would otherwise hide that WebSockets are broken.
pub fn no_fallback(stderr: &str) {
    assert!(
        !stderr.to_lowercase().contains("fallback"),
        "kubectl fell back to SPDY: {stderr}"
    );
}

fn output_and_exit_code_are_kept(env: &'static Env, form: Form) {
    let space = env.namespace("exec");
    space.pod("box", IDLE);
    let kubectl = space.kubectl(Role::Editor, form);
    for (name, websockets) in TRANSPORTS {
        let kubectl = over(kubectl.clone(), websockets);
        let out = kubectl.run(&[
            "-v=4",
            "exec",
            "box",
            "--",
            "sh",
            "-c",
            "echo to out; echo to err >&2; exit 42",
        ]);
        assert_eq!(
            (out.code, out.stdout.as_str()),
            (Some(42), "to out\n"),
            "{name}: {}{}",
            out.stderr,
            kubectl.tails()
        );
        assert!(out.stderr.contains("to err\n"), "{name}: {}", out.stderr);
        no_fallback(&out.stderr);
        assert_eq!(kubectl.ok("exec box -- echo fine"), "fine\n");
        let missing = kubectl.fails("exec box -- no-such-program");
        assert!(
            missing.contains("executable file not found"),
            "{name}: {missing}"
        );
        let nowhere = kubectl.fails("exec no-such-pod -- true");
        assert!(nowhere.contains("NotFound"), "{name}: {nowhere}");
    }
    // Without `-i` more than one command at a time, each with its own output.
    std::thread::scope(|scope| {
        for n in 0..4 {
            let kubectl = &kubectl;
            scope.spawn(move || {
                assert_eq!(
                    kubectl.ok(&format!("exec box -- echo {n}")),
                    format!("{n}\n")
                )
            });
        }
    });
}

fn standard_input_ends(env: &'static Env, form: Form) {
    const LEN: u64 = 8 << 20;
    let space = env.namespace("stdin");
    space.pod("box", IDLE);
    let mut expected = Sum::default();
    std::io::copy(&mut Seeded::new(7, LEN), &mut expected).unwrap();
    for (name, websockets) in TRANSPORTS {
        let kubectl = over(space.kubectl(Role::Editor, form), websockets);
        // `cat` ends because its input does, and only then.
        let mut back = Sum::default();
        let out = kubectl.pipe("-v=4 exec -i box -- cat", Seeded::new(7, LEN), &mut back);
        assert_eq!(
            out.code,
            Some(0),
            "{name}: {}{}",
            out.stderr,
            kubectl.tails()
        );
        assert_eq!((back.len, back.hex()), (LEN, expected.hex()), "{name}");
        no_fallback(&out.stderr);
        // What a program says after its input ended still arrives, and its exit code.
        let script = "n=$(wc -c); sleep 1; echo $n; exit 3";
        let out = kubectl.run_with(
            &["exec", "-i", "box", "--", "sh", "-c", script],
            Cursor::new(b"12345"),
        );
        assert_eq!(
            (out.code, out.stdout.trim()),
            (Some(3), "5"),
            "{name}: {}",
            out.stderr
        );
        // A program that does not read its input does not wait for its end.
        let out = kubectl.run_with("exec -i box -- echo done", Cursor::new(b"unread"));
        assert_eq!(out.stdout, "done\n", "{name}: {}", out.stderr);
    }
}

fn attach(env: &'static Env, form: Form) {
    let space = env.namespace("attach");
    for (name, websockets) in TRANSPORTS {
        let script = "while read -r line; do echo got $line; done; echo end";
        space.pod_with(name, script, json!({"stdin": true, "stdinOnce": true}));
        let kubectl = over(space.kubectl(Role::Editor, form), websockets);
        let mut attached = kubectl.spawn(&format!("-v=4 attach -i {name}"));
        let mut stdin = attached.stdin();
        for n in 0..3 {
            // One by one: what is typed must not wait for more.
            writeln!(stdin, "line {n}").unwrap();
            attached.wait_text(&format!("got line {n}"));
        }
        drop(stdin);
        attached.wait_text("end");
        assert!(
            attached.wait_exit(crate::common::DEADLINE).success(),
            "{}",
            attached.tail()
        );
        no_fallback(&attached.output());
    }
}
