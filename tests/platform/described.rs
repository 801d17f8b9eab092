//! What the API and the control channel say of themselves, and the files of it.

use crate::common::{api::Api, gateway::Gateway, root};
use pipeops_tunnel::{gateway::platform::description, wire::control};
use std::fs;

/// The file has this content; with `PIPEOPS_BLESS` it gets it.
fn assert_generated(file: &str, content: &str) {
    let path = root().join(file);
    if std::env::var_os("PIPEOPS_BLESS").is_some() {
        fs::write(&path, content).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == content,
        "{file} is not what the code makes: PIPEOPS_BLESS=1 cargo test --test platform described"
    );
}

#[test]
fn the_files_are_those_of_the_code() {
    let yaml = serde_saphyr::to_string(&description()).unwrap();
    assert_generated(
        "proto/openapi.yaml",
        &format!("# Made from the handlers in src/gateway/platform.\n{yaml}"),
    );
    assert_generated(
        "proto/control.schema.json",
        &format!("{:#}\n", control::schema()),
    );
}

#[test]
fn the_documented_messages_are_valid_by_the_schema() {
    let schema = jsonschema::validator_for(&control::schema()).unwrap();
    let reference = fs::read_to_string(root().join("tests/platform/reference.json")).unwrap();
    let messages: Vec<serde_json::Value> = serde_json::from_str(&reference).unwrap();
    assert_eq!(messages.len(), 6);
    for message in messages {
        let errors: Vec<String> = schema
            .iter_errors(&message)
            .map(|e| e.to_string())
            .collect();
        assert!(errors.is_empty(), "{message}: {errors:?}");
        let known = control::decode(&message.to_string()).unwrap();
        assert!(matches!(known, control::Decoded::Known(_)), "{message}");
    }
}

#[test]
fn the_description_is_served_to_anybody_and_the_page_loads_nothing_else() {
    let gateway = Gateway::start();
    let nobody = Api::with_token(&gateway, "none");
    assert_eq!(nobody.get("/v1/openapi.json").expect(200), description());
    let page = nobody.get("/docs");
    assert_eq!(page.status, 200);
    let policy = page.field("content-security-policy").unwrap();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    for link in ["/docs/page.js", "/docs/page.css"] {
        assert!(page.text.contains(link));
        assert_eq!(nobody.get(link).status, 200);
    }
    assert!(!page.text.contains("http://") && !page.text.contains("https://"));
}
