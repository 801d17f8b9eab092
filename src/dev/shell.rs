//! Lines that a shell reads as they were meant.

use std::path::Path;

/// A word for bash and other POSIX shells (POSIX.1-2024, Shell Command Language, 2.2.2).
pub(super) fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A file's name as a word.
pub(super) fn path(path: &Path) -> String {
    word(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_shell_gives_the_text_back() {
        for text in [
            "",
            "/plain/x-1.token",
            "a b",
            "it's",
            "$(id)",
            "`id`",
            "a\"b\\c",
            "~",
            "ü*?[",
            "a\nb",
            "!x",
        ] {
            let line = format!("printf %s {}", word(text));
            let nested = format!("printf %s \"$(printf %s {})\"", word(text));
            for line in [line, nested] {
                let output = Command::new("bash").args(["-c", &line]).output().unwrap();
                assert_eq!(String::from_utf8(output.stdout).unwrap(), text, "{line}");
            }
        }
        assert_eq!(word("/plain/x-1.token"), "/plain/x-1.token");
    }
}
