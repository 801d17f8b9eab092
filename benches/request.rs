//! What is done to each request before a byte of it moves: header policy, path, and the look-up of its
//! cluster among ten thousand. Allocations are counted.
//!
//! `cargo bench --bench request`
#![allow(missing_docs, reason = "a bench")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a bench")]

use std::alloc::System;
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::HeaderMap;
use pipeops_tunnel::gateway::directory::Directory;
use pipeops_tunnel::gateway::store::{ClusterRecord, Contents, Store, StoreError, TokenRecord};
use pipeops_tunnel::http::authority::Authority;
use pipeops_tunnel::http::headers::{ResponseContext, sanitize_request, sanitize_response};
use pipeops_tunnel::http::path::TunnelPath;
use pipeops_tunnel::wire::token::ClusterId;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CLUSTERS: usize = 10_000;

/// Says once how often `work` allocates.
fn allocations<T>(what: &str, mut work: impl FnMut() -> T) {
    let before = HEAP.stats().allocations + HEAP.stats().reallocations;
    for _ in 0..100 {
        black_box(work());
    }
    let after = HEAP.stats().allocations + HEAP.stats().reallocations;
    eprintln!(
        "{what}: {:.2} allocations each",
        (after - before) as f64 / 100.0
    );
}

fn fields(of: &[(&'static str, &'static str)]) -> HeaderMap {
    of.iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect()
}

fn kubectl() -> HeaderMap {
    fields(&[
        ("host", "tunnel-cls-ew5z6lltwl.pipeops.example.com"),
        (
            "user-agent",
            "kubectl/v1.36.3 (linux/amd64) kubernetes/1234567",
        ),
        (
            "accept",
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
        ),
        ("accept-encoding", "gzip"),
        ("authorization", "Bearer something-that-is-secret"),
        ("kubectl-command", "kubectl get"),
        ("kubectl-session", "a3c2d1b0-0000-0000-0000-000000000000"),
        ("x-forwarded-for", "192.0.2.1"),
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
    ])
}

fn answer() -> HeaderMap {
    fields(&[
        ("content-type", "application/json"),
        ("content-length", "4711"),
        ("date", "Thu, 15 Jan 2026 10:30:45 GMT"),
        ("audit-id", "a3c2d1b0-0000-0000-0000-000000000000"),
        ("cache-control", "no-cache, private"),
        ("x-kubernetes-pf-flowschema-uid", "a3c2d1b0-0000"),
        ("set-cookie", "grafana_session=abc; Path=/; HttpOnly"),
        ("strict-transport-security", "max-age=1"),
        ("location", "/login"),
    ])
}

fn headers(criterion: &mut Criterion) {
    let (request, response) = (kubectl(), answer());
    let context = ResponseContext {
        prefix: "/grafana",
        stripped: true,
        host: "tunnel-cls-ew5z6lltwl.pipeops.example.com",
        ..ResponseContext::default()
    };
    let mut group = criterion.benchmark_group("header policy");
    let mut bench = |name: &str, map: &HeaderMap, policy: &dyn Fn(&mut HeaderMap)| {
        let mut maps = vec![map.clone(); 100];
        allocations(name, || policy(&mut maps.pop().unwrap()));
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(|| map.clone(), policy, BatchSize::SmallInput);
        });
    };
    bench("request", &request, &|map| sanitize_request(map, None));
    bench("response", &response, &|map| {
        sanitize_response(map, &context)
    });
    // The obvious rival: a copy of what is allowed.
    bench("copy of the request", &request, &|map| *map = map.clone());
    group.finish();
}

/// Clusters that are there and nothing else.
#[derive(Debug)]
struct Fixed;

impl Store for Fixed {
    fn load(&self) -> Result<Contents, StoreError> {
        let cluster = |number| {
            let id = serde_json::from_value(id(number).into()).unwrap();
            let name = serde_json::from_value(format!("cluster-{number}").into()).unwrap();
            ClusterRecord::new(id, name, jiff::Timestamp::UNIX_EPOCH)
        };
        Ok(Contents {
            clusters: (0..CLUSTERS).map(cluster).collect(),
            tokens: Vec::new(),
        })
    }

    fn put_cluster(&self, _: &ClusterRecord) -> Result<(), StoreError> {
        Ok(())
    }

    fn remove_cluster(&self, _: &ClusterId) -> Result<(), StoreError> {
        Ok(())
    }

    fn put_token(&self, _: &TokenRecord) -> Result<(), StoreError> {
        Ok(())
    }

    fn schema_version(&self) -> Result<u64, StoreError> {
        Ok(1)
    }
}

fn id(number: usize) -> String {
    format!("cls-{number:010}")
}

fn routes(criterion: &mut Criterion) {
    let directory = Directory::open(Arc::new(Fixed)).unwrap();
    let map: HashMap<String, usize> = (0..CLUSTERS).map(|number| (id(number), number)).collect();
    let wanted = id(4_711);
    let host = format!("tunnel-{wanted}.pipeops.example.com");
    assert!(directory.cluster_by_id(&wanted).is_some());
    let mut group = criterion.benchmark_group("route");
    let mut bench = |name: &str, work: &dyn Fn()| {
        allocations(name, work);
        group.bench_function(name, |bencher| bencher.iter(work));
    };
    bench("path of a host", &|| {
        black_box(TunnelPath::of_host(black_box(
            "/kubernetes/api/v1/namespaces/default/pods?limit=500",
        )))
        .unwrap();
    });
    bench("path with a cluster", &|| {
        let path =
            "/v1/clusters/cluster-4711/tunnel/kubernetes/api/v1/namespaces/default/pods?limit=500";
        black_box(TunnelPath::of_cluster(black_box(path))).unwrap();
    });
    bench("authority", &|| {
        black_box(Authority::parse(black_box(&host))).unwrap();
    });
    bench("cluster by id", &|| {
        black_box(directory.cluster_by_id(black_box(&wanted))).unwrap();
    });
    bench("cluster by name", &|| {
        black_box(directory.cluster_by_name(black_box("cluster-4711"))).unwrap();
    });
    bench("a plain map", &|| {
        black_box(map.get(black_box(&wanted))).unwrap();
    });
    group.finish();
}

criterion_group!(benches, headers, routes);
criterion_main!(benches);
