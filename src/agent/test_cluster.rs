//! The Kubernetes of `tests/kube` for unit tests, for as long as this test process lives.
//!
//! `PIPEOPS_TEST_KUBECONFIG` names one that runs already, `PIPEOPS_TEST_SKIP_KUBERNETES=1` leaves these tests out.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;

/// What pods run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    /// Nodes in name only, on which every pod runs at once.
    Fake,
    /// A kubelet with containerd.
    Real,
}

/// A cluster that was started here.
#[derive(Debug)]
pub(super) struct TestCluster {
    /// Of an administrator; the other accounts are in files beside it.
    pub(super) kubeconfig: PathBuf,
    /// The program.
    pub(super) kubectl: PathBuf,
    /// It ends when this is closed.
    _hold: Option<ChildStdin>,
}

/// The cluster with such a node; none, and a word about it, where these tests are left out.
///
/// # Panics
/// Where it can not start, with what to install.
pub(super) fn cluster(node: Node) -> Option<&'static TestCluster> {
    static FAKE: OnceLock<TestCluster> = OnceLock::new();
    static REAL: OnceLock<TestCluster> = OnceLock::new();
    if std::env::var_os("PIPEOPS_TEST_SKIP_KUBERNETES")
        .is_some_and(|set| !set.is_empty() && set != "0")
    {
        eprintln!("left out: PIPEOPS_TEST_SKIP_KUBERNETES is set");
        return None;
    }
    if let Some(kubeconfig) = std::env::var_os("PIPEOPS_TEST_KUBECONFIG") {
        let given = || TestCluster {
            kubeconfig: kubeconfig.into(),
            kubectl: std::env::var_os("PIPEOPS_TEST_KUBECTL")
                .map_or("kubectl".into(), PathBuf::from),
            _hold: None,
        };
        return Some(REAL.get_or_init(given));
    }
    Some(match node {
        Node::Fake => FAKE.get_or_init(|| start("fake")),
        Node::Real => REAL.get_or_init(|| start("real")),
    })
}

#[expect(
    clippy::zombie_processes,
    reason = "it ends after this process, once its standard input is closed"
)]
fn start(node: &str) -> TestCluster {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kube/hold.sh");
    let mut hold = Command::new(script);
    hold.arg(node)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    // Ctrl-C must not reach it before its work is done.
    std::os::unix::process::CommandExt::process_group(&mut hold, 0);
    let mut child = hold.spawn().expect("tests/kube/hold.sh");
    let stdin = child.stdin.take();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        if let Some(ready) = line.strip_prefix("ready ") {
            let (kubeconfig, kubectl) = ready.split_once(' ').unwrap();
            return TestCluster {
                kubeconfig: kubeconfig.into(),
                kubectl: kubectl.into(),
                _hold: stdin,
            };
        }
        assert!(!line.starts_with("error "), "kubernetes: {line}");
    }
    panic!("tests/kube/hold.sh has ended");
}
