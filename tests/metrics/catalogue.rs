//! `docs/metrics.md` says what the registries hold. `PIPEOPS_BLESS=1` rewrites its tables.

use crate::common::{face, root, temp_dir};
use pipeops_tunnel::{
    agent::{Agent, config::AgentConfig},
    gateway::{Gateway, config::GatewayConfig},
    metrics::{Entry, LabelEntry, Registry},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write, fs};

fn configured<C: serde::de::DeserializeOwned>(mut config: Value) -> C {
    face::anywhere(&mut config);
    serde_json::from_value(config).unwrap()
}

fn agent() -> Agent {
    let config: AgentConfig = configured(json!({
        "pipeops": {"api_url": "https://localhost:1", "token": "none"},
        "kubernetes": {"enabled": false},
    }));
    Agent::start(config).unwrap()
}

fn gateway() -> Gateway {
    let config: GatewayConfig = configured(json!({
        "listen": "127.0.0.1:0", "state_dir": temp_dir("catalogue"), "tls": {"self_signed": true},
    }));
    Gateway::start(config).unwrap()
}

/// What there is, by kind, as it is gathered.
fn gathered(registry: &Registry) -> BTreeMap<String, String> {
    let families = registry.gather().into_iter();
    let kinds = families.map(|family| {
        let kind = format!("{:?}", family.get_field_type()).to_lowercase();
        (family.name().to_owned(), kind)
    });
    kinds.collect()
}

fn catalogued(registry: &Registry) -> BTreeMap<String, String> {
    let entries = registry.catalogue().into_iter();
    entries
        .map(|entry| (entry.name, entry.kind.to_owned()))
        .collect()
}

#[tokio::test]
async fn every_metric_is_there_from_the_start_and_in_the_catalogue() {
    let (agent, gateway) = (agent(), gateway());
    for registry in [agent.metrics().registry(), gateway.metrics().registry()] {
        assert_eq!(gathered(registry), catalogued(registry));
    }
}

/// The queries of the page, as they stand in its blocks of PromQL.
pub fn queries() -> Vec<String> {
    let page = fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let blocks = page.split("```promql\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap().lines());
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn the_pages_queries_ask_for_what_there_is() {
    let (agent, gateway) = (agent(), gateway());
    let registries = [agent.metrics().registry(), gateway.metrics().registry()];
    let there: Vec<_> = registries
        .iter()
        .flat_map(|r| catalogued(r).into_keys())
        .collect();
    let queries = queries();
    assert!(queries.len() > 15, "{queries:?}");
    for query in queries {
        let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in words.filter(|word| word.starts_with("pipeops_")) {
            let name = name.trim_end_matches("_bucket");
            assert!(there.iter().any(|known| known == name), "{name} in {query}");
        }
    }
}

fn unit(name: &str) -> &str {
    let name = name.trim_end_matches("_total");
    match name.rsplit('_').next() {
        Some(unit @ ("bytes" | "seconds")) => unit,
        _ if name.starts_with("pipeops_tunnel_bytes") => "bytes",
        _ => "",
    }
}

fn label(label: &LabelEntry) -> String {
    format!("`{}`: {}", label.name, label.values.join(", "))
}

fn table(entries: &[Entry]) -> String {
    let mut table =
        "| name | type | unit | labels | what it says |\n| --- | --- | --- | --- | --- |\n"
            .to_owned();
    for entry in entries {
        let labels: Vec<_> = entry.labels.iter().map(label).collect();
        let (labels, help) = (labels.join("; "), entry.help.trim_end_matches('.'));
        let (name, kind, unit) = (&entry.name, entry.kind, unit(&entry.name));
        writeln!(table, "| `{name}` | {kind} | {unit} | {labels} | {help} |").unwrap();
    }
    table
}

/// The page with the table of one program between its marks.
fn with_table(page: &str, program: &str, table: &str) -> String {
    let (begin, end) = (
        format!("<!-- {program}: generated -->\n"),
        format!("<!-- {program}: end -->\n"),
    );
    let (before, rest) = page.split_once(&begin).expect("the mark before the table");
    let (_, after) = rest.split_once(&end).expect("the mark after the table");
    format!("{before}{begin}\n{table}\n{end}{after}")
}

#[tokio::test]
async fn the_page_says_what_there_is() {
    let (agent, gateway) = (agent(), gateway());
    let path = root().join("docs/metrics.md");
    let page = fs::read_to_string(&path).unwrap();
    let mut expected = page.clone();
    for (program, registry) in [
        ("agent", agent.metrics().registry()),
        ("gateway", gateway.metrics().registry()),
    ] {
        expected = with_table(&expected, program, &table(&registry.catalogue()));
    }
    if std::env::var_os("PIPEOPS_BLESS").is_some() {
        fs::write(&path, &expected).unwrap();
        return;
    }
    assert!(
        page == expected,
        "docs/metrics.md is out of date: run PIPEOPS_BLESS=1 cargo test --test metrics the_page"
    );
}
