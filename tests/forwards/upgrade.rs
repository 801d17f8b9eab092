//! `Upgrade: tcp` at the tunnel's endpoint.

use crate::{
    common::sum::Seeded,
    fixture::{FORMS, Form, Tunnel},
    origin::Origin,
    setup::{TCP, demo, joined, tcp, upgraded},
    wire::within,
};
use tokio::io::AsyncWriteExt;

#[tokio::test(flavor = "multi_thread")]
async fn bytes_pass_both_ways_by_both_forms() {
    let (tunnel, mut targets) = tcp().await;
    for form in FORMS {
        let mut client = tunnel.connect(form).await;
        // What follows the head at once is the target's too.
        let head = tunnel.head(form, "GET", "", TCP);
        client.send([head.as_bytes(), b"early"].concat()).await;
        let head = client.head().await;
        assert_eq!((head.status(), head.get("upgrade")), (101, Some("tcp")));
        let mut target = targets.next().await;
        assert_eq!(target.exactly(5).await, b"early");
        target.send("\0\r\n raw").await;
        assert_eq!(client.exactly(7).await, b"\0\r\n raw");
        let (there, back) = (Seeded::bytes(1, 3_000_001), Seeded::bytes(2, 2_000_003));
        let (got, sent) = tokio::join!(
            async {
                client.send(&there).await;
                client.exactly(back.len()).await
            },
            async {
                let got = target.exactly(there.len()).await;
                target.send(&back).await;
                got
            }
        );
        assert!(got == back && sent == there, "bytes differ");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn either_side_may_end_first() {
    let (tunnel, mut targets) = tcp().await;
    let (mut client, mut target) = joined(&tunnel, &mut targets).await;
    client.send("question").await;
    client.io.shutdown().await.unwrap();
    assert_eq!(target.rest().await.bytes, b"question");
    target.send("answer").await;
    drop(target);
    let rest = client.rest().await;
    assert_eq!(
        (rest.bytes.as_slice(), rest.complete),
        (&b"answer"[..], true)
    );

    let (mut client, mut target) = joined(&tunnel, &mut targets).await;
    target.send("greeting").await;
    target.io.shutdown().await.unwrap();
    let rest = client.rest().await;
    assert_eq!(
        (rest.bytes.as_slice(), rest.complete),
        (&b"greeting"[..], true)
    );
    client.send("reply").await;
    client.io.shutdown().await.unwrap();
    let rest = target.rest().await;
    assert_eq!(
        (rest.bytes.as_slice(), rest.complete),
        (&b"reply"[..], true)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_is_no_end_for_the_other_side() {
    let (tunnel, mut targets) = tcp().await;
    let (mut client, mut target) = joined(&tunnel, &mut targets).await;
    client.send("half of").await;
    assert_eq!(target.exactly(7).await, b"half of");
    // Without close_notify: the client's machine is gone.
    drop(client);
    let rest = within("the target to see the end", target.rest()).await;
    assert!(!rest.complete, "a cut upload looks complete to the target");

    let (mut client, target) = joined(&tunnel, &mut targets).await;
    socket2::SockRef::from(&target.io)
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
    drop(target);
    let rest = within("the client to see the end", client.rest()).await;
    assert!(
        !rest.complete,
        "a cut download looks complete to the client"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_service_has_its_own_upgrades_behind_its_name() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::with(&[demo("http", origin.addr)]);
    let mut client = tunnel.connect(Form::Host).await;
    let attach = "/containers/x/attach?stream=1";
    client
        .send(tunnel.head(Form::Host, "POST", attach, TCP))
        .await;
    let mut target = targets.next().await;
    let head = target.head().await;
    assert_eq!((head.target(), head.get("upgrade")), (attach, Some("tcp")));
    target
        .send(format!("HTTP/1.1 101 UPGRADED\r\n{TCP}\r\nhi"))
        .await;
    assert_eq!(client.head().await.status(), 101);
    assert_eq!(client.exactly(2).await, b"hi");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_do_not_mix() {
    let origin = Origin::raw(|mut conn| async move {
        loop {
            let mut buffer = vec![0; 4096];
            match tokio::io::AsyncReadExt::read(&mut conn.io, &mut buffer).await {
                Ok(n) if n > 0 => conn.send(&buffer[..n]).await,
                _ => return,
            }
        }
    })
    .await;
    let tunnel = Tunnel::with(&[demo("tcp", origin.addr)]);
    let mut all = Vec::new();
    for n in 0..40 {
        let mut client = upgraded(&tunnel, Form::Host, TCP).await;
        all.push(tokio::spawn(async move {
            let bytes = Seeded::bytes(n, 100_000);
            for part in bytes.chunks(10_000) {
                client.send(part).await;
                assert!(client.exactly(part.len()).await == part, "client {n}");
            }
        }));
    }
    for one in all {
        one.await.unwrap();
    }
}
