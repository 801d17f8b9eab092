//! Moving files and many bytes, with their checksums.

use crate::{
    common::{
        kubectl::Kubectl,
        sum::{Seeded, Sum},
    },
    env::{Env, Form, IDLE, Role, with},
    exec::no_fallback,
};
use std::{
    fs,
    io::{self, Write},
};

by_both_forms!(cp_both_ways, upload_of_50_mib);

/// The checksum that the pod `box` computes of a file.
fn sum_in_pod(kubectl: &Kubectl, file: &str) -> String {
    kubectl
        .ok(&format!("exec box -- sha256sum {file}"))
        .split_whitespace()
        .next()
        .unwrap()
        .to_owned()
}

fn cp_both_ways(env: &'static Env, form: Form) {
    let space = env.namespace("cp");
    space.pod("box", IDLE);
    let kubectl = space.kubectl(Role::Editor, form);
    let content = Seeded::bytes(11, 8 << 20);
    let sum = Sum::of(&content).hex();
    let tree = kubectl.home("tree/deep er");
    fs::create_dir_all(&tree).unwrap();
    fs::write(tree.join("file"), &content).unwrap();
    fs::write(tree.join("empty"), "").unwrap();
    for (name, websockets) in [("websocket", "true"), ("spdy", "false")] {
        let kubectl = kubectl
            .clone()
            .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets);
        let file = kubectl.home("tree/deep er/file").display().to_string();
        kubectl.ok(&["cp", &file, &format!("box:/tmp/{name}")]);
        assert_eq!(
            sum_in_pod(&kubectl, &format!("/tmp/{name}")),
            sum,
            "{name}, to the pod"
        );
        let back = kubectl.home(name);
        kubectl.ok(&format!("cp box:/tmp/{name} {}", back.display()));
        assert_eq!(
            Sum::of(&fs::read(back).unwrap()).hex(),
            sum,
            "{name}, from the pod"
        );
    }
    let (there, back) = (kubectl.home("tree"), kubectl.home("back"));
    kubectl.ok(&format!("cp {} box:/tmp/tree", there.display()));
    kubectl.ok(&format!("cp box:/tmp/tree {}", back.display()));
    assert_eq!(
        Sum::of(&fs::read(back.join("deep er/file")).unwrap()).hex(),
        sum
    );
    assert_eq!(fs::read(back.join("deep er/empty")).unwrap(), b"");
}

fn upload_of_50_mib(env: &'static Env, form: Form) {
    const LEN: u64 = 50 << 20;
    let space = env.namespace("upload");
    space.pod("box", IDLE);
    let kubectl = space.kubectl(Role::Editor, form);
    let mut expected = Sum::default();
    io::copy(&mut Seeded::new(50, LEN), &mut expected).unwrap();
    let out = kubectl.run_with("-v=4 exec -i box -- sha256sum", Seeded::new(50, LEN));
    assert_eq!(out.code, Some(0), "{}{}", out.stderr, kubectl.tails());
    assert_eq!(
        out.stdout.split_whitespace().next(),
        Some(expected.hex().as_str())
    );
    no_fallback(&out.stderr);
}

/// 256 rounds of a number and 4 MiB of noise: a piece lost, doubled or swapped
/// anywhere changes the sum, and the pod only has to read a file again.
#[test]
fn download_of_1_gib() {
    const ROUNDS: u64 = 256;
    const NOISE: u64 = 4 << 20;
    with(|env| {
        let space = env.namespace("download");
        space.pod("box", IDLE);
        let kubectl = space.kubectl(Role::Editor, Form::Path);
        space.upload("box", "/tmp/noise", Seeded::new(13, NOISE));
        let noise = Seeded::bytes(13, NOISE);
        let mut expected = Sum::default();
        for n in 0..ROUNDS {
            writeln!(expected, "round {n}").unwrap();
            expected.write_all(&noise).unwrap();
        }
        assert!(expected.len > 1 << 30);
        let script = format!(
            "n=0; while [ $n -lt {ROUNDS} ]; do echo round $n; cat /tmp/noise; n=$((n+1)); done"
        );
        let mut got = Sum::default();
        let out = kubectl.pipe(
            &["-v=4", "exec", "box", "--", "sh", "-c", &script],
            io::empty(),
            &mut got,
        );
        assert_eq!(
            out.code,
            Some(0),
            "after {} bytes: {}{}",
            got.len,
            out.stderr,
            kubectl.tails()
        );
        assert_eq!((got.len, got.hex()), (expected.len, expected.hex()));
        no_fallback(&out.stderr);
    });
}
