use proptest::prelude::*;

use super::*;

fn faults(text: &str) -> Vec<Fault> {
    read(text).unwrap_err()
}

fn names(text: &str) -> Vec<(usize, u64, String)> {
    let documents = read(text).unwrap();
    let all = documents.into_iter().map(|d| (d.number, d.line, d.name));
    all.collect()
}

fn named(number: usize, line: u64, name: &str) -> (usize, u64, String) {
    (number, line, name.to_owned())
}

const TWO: &str = "---\n# nothing\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n---\n\n---\n\
    apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, namespace: shop}\n";

#[test]
fn empty_documents_are_skipped() {
    assert_eq!(names(TWO), [named(1, 4, "a"), named(2, 11, "b")]);
    assert_eq!(read(TWO).unwrap()[1].namespace.as_deref(), Some("shop"));
    for nothing in ["", "---\n---\n", "# only\n", "{}\n---"] {
        assert!(!faults(nothing).is_empty(), "{nothing:?}");
    }
}

#[test]
fn json_is_read_as_json() {
    let one = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"\ud83d\ude00"}}"#;
    let document = read(one).unwrap().remove(0);
    assert_eq!(document.object["data"]["k"], "😀");
    let many = format!("{one}\n\n{}", one.replace("\"a\"", "\"b\""));
    assert_eq!(names(&many), [named(1, 1, "a"), named(2, 3, "b")]);
    let separated = format!(
        "{}\n---\n{{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {{\"name\": \"b\"}}}}",
        one.replace("\\ud83d\\ude00", "x")
    );
    assert_eq!(names(&separated), [named(1, 1, "a"), named(2, 3, "b")]);
}

#[test]
fn the_items_of_a_list_are_objects() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n\
        - {apiVersion: v1, kind: ConfigMapList, items: [{apiVersion: v1, kind: ConfigMap, metadata: {name: b}}]}\n";
    assert_eq!(names(text), [named(1, 1, "a"), named(1, 1, "b")]);
}

#[test]
fn yaml_is_kubectls() {
    let text =
        "{apiVersion: v1, kind: X, metadata: {name: a}, mode: 0644, on: yes, text: \"0644\", 1: x}";
    let object = read(text).unwrap().remove(0).object;
    assert_eq!(object["mode"], 420);
    assert_eq!(object["on"], true);
    assert_eq!(object["text"], "0644");
    assert_eq!(object["1"], "x");
}

#[test]
fn an_error_says_where() {
    let text =
        format!("{TWO}---\napiVersion: v1\nkind: Service\nmetadata:\n  name: c\n ports: [\n");
    let error = faults(&text).remove(0).error();
    assert_eq!(error.details["document"], 3, "{error:?}");
    assert_eq!(error.details["line"], 19, "{error:?}");
    assert!(error.details.contains_key("column"), "{error:?}");
}

#[test]
fn a_key_that_stands_twice_is_refused() {
    let yaml = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nkind: Pod\n";
    let error = faults(yaml).remove(0).error();
    assert!(error.message.contains("kind"), "{error:?}");
    assert_eq!(error.details["line"], 4, "{error:?}");
    let json = r#"{"apiVersion": "v1", "kind": "Pod", "kind": "Pod", "metadata": {"name": "a"}}"#;
    assert!(faults(json)[0].message.contains("kind"));
}

#[test]
fn what_every_object_has_is_checked_and_all_is_reported() {
    let cases = [
        ("kind: Pod\nmetadata: {name: a}", "apiVersion"),
        (
            "apiVersion: 1\nkind: Pod\nmetadata: {name: a}",
            "apiVersion",
        ),
        (
            "apiVersion: a/../b\nkind: Pod\nmetadata: {name: a}",
            "apiVersion",
        ),
        ("apiVersion: v1\nmetadata: {name: a}", "kind"),
        ("apiVersion: v1\nkind: Pod", "metadata"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {}", "metadata.name"),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: ../a}",
            "metadata.name",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {generateName: a}",
            "metadata.generateName",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: 1}",
            "metadata.namespace",
        ),
    ];
    for (text, field) in cases {
        assert_eq!(faults(text)[0].error().details["field"], field, "{text}");
    }
    let all = cases.map(|(text, _)| text).join("\n---\n");
    assert_eq!(faults(&all).len(), cases.len());
    assert!(faults("[a]")[0].message.contains("map"));
}

#[test]
fn there_is_an_end_to_all_of_it() {
    let large = "a".repeat(MAX_MANIFEST + 1);
    assert_eq!(faults(&large)[0].code, ErrorCode::PayloadTooLarge);
    let pods = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\n".repeat(MAX_OBJECTS + 9);
    let found = faults(&pods);
    assert_eq!(
        (found.len(), found[0].code),
        (1, ErrorCode::PayloadTooLarge)
    );
    let deep = format!("a: {}{}", "[".repeat(5_000), "]".repeat(5_000));
    assert!(!faults(&deep).is_empty());
    assert!(!faults(&format!("{{\"a\": {}", "[".repeat(50_000))).is_empty());
    assert!(faults(&"- {\n---\n".repeat(10_000)).len() <= MAX_FAULTS + 1);
}

#[test]
fn aliases_do_not_explode() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("a{level}: &a{level} [{below}]\n");
    }
    assert!(!faults(&bomb).is_empty());
    // Each document is within its limit, and all together are not.
    let long = format!(
        "text: &a {}\nall: [{}]\n",
        "x".repeat(20_000),
        vec!["*a"; 90].join(", ")
    );
    let error = faults(&vec![long; 20].join("---\n"));
    assert!(
        error.iter().any(|fault| fault.message.contains("aliases")),
        "{error:?}"
    );
    let shared = "apiVersion: v1\nkind: X\nmetadata: &m {name: a}\nagain: *m\n";
    assert_eq!(read(shared).unwrap()[0].object["again"]["name"], "a");
}

proptest! {
    #[test]
    fn arbitrary_text_is_read_or_refused(text in ".{0,400}") {
        drop(read(&text));
    }

    #[test]
    fn what_looks_like_yaml_is_read_or_refused(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "apiVersion: v1\n", "kind: List\n", "items:\n", "- ", "  ", "---\n", "{", "}", "[", "]", "a: ", "&a ",
                "*a", "<<: *a\n", "|\n", "\"", "'", "metadata: {name: a}\n", "...\n", "!!binary ", "%YAML 1.1\n", "\t", ",",
            ]),
            0..60,
        )
    ) {
        drop(read(&parts.concat()));
    }
}
