//! Renders a table of bad configurations as one page, which is the snapshot.

use std::fmt::Write;

use crate::program::{Program, file, load};

/// What is said of each, under its name; the file is called `config.yaml`.
pub fn page<T: Program>(cases: &[(&str, &str)]) -> String {
    let mut page = String::new();
    for (name, text) in cases {
        let file = file(text);
        let path = file.path().to_str().unwrap();
        let checked = load::<T>(&["--config", path], &[]).and_then(|loaded| loaded.validate());
        let problems = checked.expect_err(name).to_string();
        let problems = problems.replace(path, "config.yaml");
        assert!(!problems.contains("canary"), "{name}: {problems}");
        writeln!(page, "== {name}\n{problems}\n").unwrap();
    }
    page
}
