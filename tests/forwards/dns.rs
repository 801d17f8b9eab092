//! A real DNS server behind the tunnel, asked by a real client.

use crate::{
    command::Forward,
    common::{eventually, free_port, process::Process},
    fixture::Tunnel,
    setup::demo,
};
use std::{net::SocketAddr, process::Command, time::Duration};

/// dnsmasq that knows a few names and asks nobody.
fn dnsmasq(addr: SocketAddr) -> Process {
    let mut command = Command::new("dnsmasq");
    let port = addr.port().to_string();
    command
        .args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
        ])
        .args([
            "--user=root",
            "--group=root",
            "--pid-file=",
            "--bind-interfaces",
            "--log-facility=-",
        ])
        .args(["--listen-address", &addr.ip().to_string(), "--port", &port])
        .args(["--address=/db.test/10.1.2.3", "--edns-packet-max=4096"]);
    for n in 0..8 {
        command.arg(format!(
            "--txt-record=big.test,{}",
            n.to_string().repeat(200)
        ));
    }
    Process::spawn("dnsmasq", &mut command)
}

fn dig(addr: SocketAddr, args: &[&str]) -> Result<String, String> {
    let out = Command::new("dig")
        .args(["@127.0.0.1", "-p", &addr.port().to_string()])
        .args(["+short", "+tries=3", "+time=10"])
        .args(args)
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap().trim().to_owned();
    if out.status.success() {
        Ok(text)
    } else {
        Err(text)
    }
}

#[test]
fn names_are_found_over_udp_and_over_tcp() {
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let _server = dnsmasq(addr);
    eventually("dnsmasq", Duration::from_secs(30), || {
        dig(addr, &["db.test"])
    });
    let udp = Tunnel::with(&[demo("udp", addr)]);
    let forward = Forward::start(&udp, &["--udp"]);
    assert_eq!(
        dig(forward.addr, &["+notcp", "db.test"]).as_deref(),
        Ok("10.1.2.3")
    );
    // An answer of more than one Ethernet frame, whole or not at all.
    let big = dig(
        forward.addr,
        &["+notcp", "+bufsize=4096", "+ignore", "big.test", "TXT"],
    );
    let big = big.unwrap();
    assert_eq!(big.lines().count(), 8, "{big}");
    for line in big.lines() {
        assert_eq!(line.len(), 202, "{line}");
    }
    let askers: Vec<_> = (0..8)
        .map(|_| {
            let addr = forward.addr;
            std::thread::spawn(move || {
                for _ in 0..10 {
                    assert_eq!(dig(addr, &["+notcp", "db.test"]).as_deref(), Ok("10.1.2.3"));
                }
            })
        })
        .collect();
    for asker in askers {
        asker.join().unwrap();
    }
    let tcp = Tunnel::with(&[demo("tcp", addr)]);
    let forward = Forward::start(&tcp, &[]);
    assert_eq!(
        dig(forward.addr, &["+tcp", "db.test"]).as_deref(),
        Ok("10.1.2.3")
    );
}
