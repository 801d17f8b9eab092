//! The page at `/ui`: its files come from the gateway alone, and keep to what its policy says.

use crate::common::{api::Api, gateway::Gateway, root};
use std::fs;

/// What no file of the page may have in it, and why.
const FORBIDDEN: [(&str, &str); 12] = [
    ("://", "an address elsewhere"),
    ("localStorage", "storage that outlives the tab"),
    ("indexedDB", "storage that outlives the tab"),
    ("document.cookie", "storage that outlives the tab"),
    ("innerHTML", "text that becomes elements"),
    ("outerHTML", "text that becomes elements"),
    ("insertAdjacentHTML", "text that becomes elements"),
    ("document.write", "text that becomes elements"),
    ("eval(", "text that becomes a program"),
    ("new Function", "text that becomes a program"),
    ("@import", "a file that the policy forbids"),
    ("console.log", "what only its author wants to see"),
];

fn names() -> Vec<String> {
    let files = fs::read_dir(root().join("src/gateway/platform/ui")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn the_page_is_served_to_anybody_by_a_strict_policy() {
    let gateway = Gateway::start();
    let nobody = Api::with_token(&gateway, "none");
    let mut paths = vec!["/ui".to_owned(), "/ui/".to_owned()];
    paths.extend(
        names()
            .iter()
            .filter(|name| *name != "page.html")
            .map(|name| format!("/ui/{name}")),
    );
    assert!(paths.len() > 10, "{paths:?}");
    for path in &paths {
        let answer = nobody.get(path);
        assert_eq!(answer.status, 200, "{path}");
        let kind = match path.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(answer.field("content-type"), Some(kind), "{path}");
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.field("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.field("set-cookie"), None, "{path}");
        let policy = answer.field("content-security-policy").expect("a policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(
            !policy.contains("unsafe") && !policy.contains('*'),
            "{policy}"
        );
    }
    assert_eq!(nobody.get("/ui/nothing.js").status, 401);
}

#[test]
fn the_page_has_nothing_in_it_that_the_policy_is_for() {
    for name in names() {
        let text = fs::read_to_string(root().join("src/gateway/platform/ui").join(&name)).unwrap();
        // What names a standard and is never asked for.
        let text = text.replace("\"http://www.w3.org/2000/svg\"", "");
        for (word, why) in FORBIDDEN {
            assert!(!text.contains(word), "{name} has {word}: {why}");
        }
        assert!(text.lines().count() <= 400, "{name} is too long");
    }
}

#[test]
fn every_module_that_is_imported_is_there_and_every_one_is_imported() {
    let names = names();
    let mut wanted = vec!["page.html".to_owned()];
    for name in &names {
        let text = fs::read_to_string(root().join("src/gateway/platform/ui").join(name)).unwrap();
        for (at, _) in text.match_indices("from \"./") {
            let rest = text.get(at + 8..).unwrap();
            wanted.push(rest.split('"').next().unwrap().to_owned());
        }
        for (at, _) in text.match_indices("=\"/ui/") {
            let rest = text.get(at + 6..).unwrap();
            wanted.push(rest.split('"').next().unwrap().to_owned());
        }
    }
    wanted.sort();
    wanted.dedup();
    let mut names = names;
    names.sort();
    assert_eq!(wanted, names);
}
