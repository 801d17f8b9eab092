use serde_json::json;

use super::*;

fn schema() -> Schema {
    json!({"type": "object", "properties": {
        "name": {"type": "string"},
        "token": {"type": "string", "writeOnly": true},
        "pipeops": {"type": "object", "properties": {"token": {"type": "string", "writeOnly": true}}},
    }})
}

fn shown(text: &str, line: usize) -> String {
    let source = Source {
        path: PathBuf::from("f"),
        text: text.to_owned(),
        masks: {
            let tree = yaml::parse(text, &Origin::File).unwrap();
            let mut masks = Vec::new();
            mask(Some(&schema()), &tree, &mut masks);
            joined(masks)
        },
    };
    let start: usize = text
        .split_inclusive('\n')
        .take(line - 1)
        .map(str::len)
        .sum();
    let mark = Mark {
        line,
        column: 1,
        bytes: start..start + 1,
    };
    source
        .excerpt(&mark)
        .map_or_else(String::new, |excerpt| excerpt.text)
}

#[test]
fn what_is_not_known_to_be_harmless_is_hidden() {
    for (text, line, expected) in [
        ("name: shown # why", 1, "name: shown # why"),
        ("token: canary", 1, "token: ***"),
        ("name: https://u:canary@host/x", 1, "name: ***"),
        (
            "name: https://host/a@b # x",
            1,
            "name: https://host/a@b # x",
        ),
        ("token: 'can''ary' # x", 1, "token: *** # x"),
        (
            "{name: a, token: canary, tokn: canary}",
            1,
            "{name: a, token: ***, tokn: ***}",
        ),
        ("token: [canary, {a: canary}]", 1, "token: [***, {a: ***}]"),
        ("pipeops: canary", 1, "pipeops: ***"),
        ("name: [canary]", 1, "name: [***]"),
        ("name: &a canary\ntoken: *a", 1, "name: &a ***"),
        ("token: |\n  canary\n", 2, "***"),
        ("\tname: x".trim(), 1, "name: x"),
    ] {
        let excerpt = shown(text, line);
        assert!(!excerpt.contains("canary"), "{text}: {excerpt}");
        assert_eq!(excerpt.trim(), expected, "{text}");
    }
}

#[test]
fn a_line_that_can_not_be_parsed_is_hidden_but_for_keys() {
    for (line, expected) in [
        ("pipeops: {token: canary, ]", "pipeops: {token: ***"),
        ("token: \"canary", "token: ***"),
        ("  - name: \"canary", "  - name: ***"),
        ("can-ary, canary", "***, ***"),
        ("name: name: canary", "name: name: ***"),
    ] {
        let source = Source {
            path: PathBuf::from("f"),
            text: line.to_owned(),
            masks: joined(guess(line, 0, &schema())),
        };
        let mark = Mark {
            line: 1,
            column: 1,
            bytes: 0..1,
        };
        let excerpt = source.excerpt(&mark).unwrap();
        assert_eq!(excerpt.text, expected, "{line}");
    }
}

#[test]
fn a_long_line_is_cut_around_what_is_meant() {
    let text = format!("name: {}", "x".repeat(500));
    let source = Source {
        path: PathBuf::from("f"),
        text,
        masks: Vec::new(),
    };
    let mark = Mark {
        line: 1,
        column: 301,
        bytes: 300..310,
    };
    let excerpt = source.excerpt(&mark).unwrap();
    assert_eq!(excerpt.text.len(), WIDTH);
    assert_eq!((excerpt.before, excerpt.length), (80, 10));
}
