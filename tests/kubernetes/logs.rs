//! logs, whole and followed.

use crate::{
    common::DEADLINE,
    env::{Env, Form, Role},
};
use std::fmt::Write;

by_both_forms!(logs_are_whole, logs_follow_until_the_container_ends);

fn logs_are_whole(env: &'static Env, form: Form) {
    let space = env.namespace("logs");
    space.pod("counter", "seq 1 20000; sleep 1000000");
    space
        .admin
        .ok("wait pod/counter --for=condition=Ready --timeout=120s");
    let mut expected = String::new();
    (1..=20_000).for_each(|n| writeln!(expected, "{n}").unwrap());
    let kubectl = space.kubectl(Role::Viewer, form);
    crate::common::eventually("the container's whole output", DEADLINE, || {
        let logs = kubectl.ok("logs counter");
        assert!(
            expected.starts_with(&logs),
            "lines lost or changed in {} bytes",
            logs.len()
        );
        if logs.len() == expected.len() {
            Ok(())
        } else {
            Err(format!("{} bytes", logs.len()))
        }
    });
    assert_eq!(kubectl.ok("logs counter --tail=2"), "19999\n20000\n");
}

fn logs_follow_until_the_container_ends(env: &'static Env, form: Form) {
    let space = env.namespace("follow");
    space.pod(
        "talker",
        "echo first; until [ -e /tmp/go ]; do sleep 0.1; done; echo second; sleep 1; echo third",
    );
    let mut logs = space
        .kubectl(Role::Viewer, form)
        .spawn("logs --follow talker");
    logs.wait_text("first");
    assert!(!logs.output().contains("second"));
    space.admin.ok("exec talker -- touch /tmp/go");
    logs.wait_text("third");
    assert!(logs.wait_exit(DEADLINE).success(), "{}", logs.tail());
    assert_eq!(logs.output(), "first\nsecond\nthird");
}
