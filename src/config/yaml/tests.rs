use serde_json::json;

use super::*;
use crate::config::tree::Path;

fn read(text: &str) -> Node {
    parse(text, &Origin::File).unwrap()
}

fn refused(text: &str) -> (usize, usize, String) {
    let error = parse(text, &Origin::File).unwrap_err();
    (error.at.line, error.at.column, error.reason)
}

#[test]
fn scalars_have_the_types_of_the_core_schema() {
    for (text, value) in [
        ("1", json!(1)),
        ("-7", json!(-7)),
        ("+7", json!(7)),
        ("0x1F", json!(31)),
        ("0o17", json!(15)),
        ("18446744073709551615", json!(u64::MAX)),
        ("1.5", json!(1.5)),
        ("1e3", json!(1000)),
        ("1e300", json!(1e300)),
        ("true", json!(true)),
        ("yes", json!("yes")),
        ("~", json!(null)),
        ("30s", json!("30s")),
        (".inf", json!(".inf")),
        ("127.0.0.1:80", json!("127.0.0.1:80")),
        ("'1'", json!("1")),
        ("!!str 1", json!("1")),
        ("\"a\\tb\"", json!("a\tb")),
    ] {
        assert_eq!(read(&format!("x: {text}")).to_json()["x"], value, "{text}");
    }
}

#[test]
fn nothing_is_null() {
    for text in ["", "\n", "# only a comment\n", "---\n", "~", "\u{feff}"] {
        assert_eq!(read(text).to_json(), json!(null), "{text:?}");
    }
}

#[test]
fn every_value_knows_its_place() {
    let tree = read("a:\n  - b: 1\n    ä: 'ö' # c\n");
    let place = |path: Path| {
        let mark = tree.get(&path).unwrap().origin.mark().unwrap();
        (mark.line, mark.column, mark.bytes.clone())
    };
    let item = Path::dotted("a").index(0);
    assert_eq!(place(item.key("b")), (2, 8, 10..11));
    assert_eq!(place(item.key("ä")), (3, 8, 20..24));
}

#[test]
fn an_alias_is_a_copy_with_a_place_of_its_own() {
    let tree = read("a: &x {n: 1}\nb: *x\n");
    assert_eq!(tree.to_json(), json!({"a": {"n": 1}, "b": {"n": 1}}));
    let node = tree.get(&Path::dotted("b")).unwrap();
    assert!(matches!(&node.origin, Origin::File(mark) if mark.line == 2));
    assert_eq!(node.anchored.as_ref().unwrap().line, 1);
}

#[test]
fn what_would_be_read_in_two_ways_is_refused() {
    assert_eq!(
        refused("a: 1\nb: 2\na: 3\n"),
        (3, 1, "this key is here twice".to_owned())
    );
    assert_eq!(
        refused("a: 1\n---\nb: 2\n"),
        (2, 1, "a second document begins here".to_owned())
    );
    assert_eq!(
        refused("a: &x [*x]\n").2,
        "an alias stands inside of what it stands for"
    );
    assert_eq!(
        refused("a: *y\n").2,
        "this alias names nothing that came before it"
    );
    assert_eq!(
        refused("a: !run x\n").2,
        "a tag such as '!x' has no meaning here"
    );
    assert_eq!(refused("? [a]\n: 1\n").2, "a key must be a plain word");
}

#[test]
fn what_grows_without_bound_is_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let before = format!("*a{}, ", n - 1).repeat(10);
        bomb.push_str(&format!("a{n}: &a{n} [{before}]\n"));
    }
    assert!(
        refused(&bomb).2.starts_with("there are more than 50000"),
        "{:?}",
        refused(&bomb)
    );
    let deep = format!("a: {}{}", "[".repeat(5000), "]".repeat(5000));
    assert_eq!(refused(&deep).2, "this is nested more than 64 levels deep");
}

#[test]
fn no_text_makes_it_panic() {
    for text in [
        "a: [",
        "a: {",
        "a: 'x",
        "\t",
        "a:\n\tb: 1",
        "- a\nb: c",
        ": :",
        "%YAML 9.9\n---\n",
        "a: |",
        "&a",
        "*a",
        "!!",
        "a: \u{0}",
        "a: b: c",
        "?",
        "-\n-",
        "a: @x",
        "a: `x`",
        "{a: 1, a: 2}",
    ] {
        drop(parse(text, &Origin::File));
    }
}
