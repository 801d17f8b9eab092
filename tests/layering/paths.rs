//! Finds the paths that Rust source names: `use` trees expanded, `self` and `super` resolved.
//!
//! Reads tokens only. A path through a macro's output or through another module's `pub use` is not seen there, but
//! where it is written.

/// A path as written, resolved to start at `crate` where it is one of ours.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Ident(String),
    /// `::`
    Colons,
    Mark(char),
}

#[derive(Debug, Clone)]
struct Token {
    line: usize,
    kind: Kind,
}

/// All paths in `text`, the source of the module `module` (`[]` is the crate's root).
pub(crate) fn paths_in(text: &str, module: &[String]) -> Vec<Found> {
    let tokens = Lexer {
        rest: text.chars().collect(),
        at: 0,
        line: 1,
    }
    .run();
    let mut walk = Walk {
        tokens: &tokens,
        at: 0,
        module,
        inline: Vec::new(),
        depth: 0,
        found: Vec::new(),
    };
    walk.run();
    walk.found
}

struct Walk<'a> {
    tokens: &'a [Token],
    at: usize,
    module: &'a [String],
    /// Inline modules that are open, each with the brace depth inside it.
    inline: Vec<(String, usize)>,
    depth: usize,
    found: Vec<Found>,
}

impl Walk<'_> {
    fn run(&mut self) {
        while let Some(token) = self.tokens.get(self.at) {
            match &token.kind {
                Kind::Ident(word) if word == "use" => {
                    self.at += 1;
                    self.tree(&[]);
                }
                Kind::Ident(word)
                    if word == "crate" && self.ident(self.at.wrapping_sub(1)) == Some("extern") =>
                {
                    self.at += 1;
                    self.path();
                }
                Kind::Ident(word) if word == "mod" && self.mark(self.at + 2) == Some('{') => {
                    let name = self.ident(self.at + 1).unwrap_or_default().to_owned();
                    self.depth += 1;
                    self.inline.push((name, self.depth));
                    self.at += 3;
                }
                Kind::Ident(_) if self.colons(self.at + 1) => self.path(),
                Kind::Mark('{') => self.step(1),
                Kind::Mark('}') => self.step(-1),
                Kind::Ident(_) | Kind::Colons | Kind::Mark(_) => self.at += 1,
            }
        }
    }

    fn step(&mut self, by: isize) {
        self.depth = self.depth.saturating_add_signed(by);
        self.inline.retain(|(_, depth)| *depth <= self.depth);
        self.at += 1;
    }

    /// A path of an expression, a type, an attribute; generics end it (`a::<B>::c` is `a`, then `B`, then `c`).
    fn path(&mut self) {
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        let mut segments = Vec::new();
        while let Some(word) = self.ident(self.at) {
            segments.push(word.to_owned());
            self.at += 1;
            if !(self.colons(self.at) && self.ident(self.at + 1).is_some()) {
                break;
            }
            self.at += 1;
        }
        self.note(line, &segments);
    }

    /// A `use` tree, from its first token to the `,`, `}` or `;` behind it.
    fn tree(&mut self, before: &[String]) {
        let mut prefix = before.to_vec();
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        loop {
            match self.tokens.get(self.at).map(|token| token.kind.clone()) {
                Some(Kind::Ident(word)) if word == "as" => self.at += 2,
                Some(Kind::Ident(word)) => {
                    // `{self as x}` names what stands before the brace.
                    if word != "self" || before.is_empty() {
                        prefix.push(word);
                    }
                    self.at += 1;
                }
                Some(Kind::Colons) => self.at += 1,
                Some(Kind::Mark('*')) => {
                    prefix.push("*".to_owned());
                    self.at += 1;
                }
                Some(Kind::Mark('{')) => return self.group(&prefix),
                Some(Kind::Mark(_)) | None => break,
            }
        }
        self.note(line, &prefix);
    }

    fn group(&mut self, prefix: &[String]) {
        self.at += 1;
        while let Some(token) = self.tokens.get(self.at) {
            match token.kind {
                Kind::Mark('}') => {
                    self.at += 1;
                    return;
                }
                Kind::Ident(_) | Kind::Colons | Kind::Mark('{' | '*') => self.tree(prefix),
                Kind::Mark(_) => self.at += 1,
            }
        }
    }

    fn note(&mut self, line: usize, written: &[String]) {
        let ups = written
            .iter()
            .skip_while(|word| *word == "self")
            .take_while(|word| *word == "super")
            .count();
        let own = usize::from(written.first().is_some_and(|word| word == "self"));
        let mut segments = Vec::new();
        if ups + own > 0 {
            let here = self
                .module
                .iter()
                .chain(self.inline.iter().map(|(name, _)| name));
            let kept = (self.module.len() + self.inline.len()).saturating_sub(ups);
            segments.push("crate".to_owned());
            segments.extend(here.take(kept).cloned());
        }
        segments.extend(written.iter().skip(ups + own).cloned());
        self.found.push(Found { line, segments });
    }

    fn ident(&self, at: usize) -> Option<&str> {
        match &self.tokens.get(at)?.kind {
            Kind::Ident(word) => Some(word),
            Kind::Colons | Kind::Mark(_) => None,
        }
    }

    fn mark(&self, at: usize) -> Option<char> {
        match self.tokens.get(at)?.kind {
            Kind::Mark(mark) => Some(mark),
            Kind::Ident(_) | Kind::Colons => None,
        }
    }

    fn colons(&self, at: usize) -> bool {
        self.tokens
            .get(at)
            .is_some_and(|token| token.kind == Kind::Colons)
    }
}

/// Tokens without comments, literals and lifetimes.
struct Lexer {
    rest: Vec<char>,
    at: usize,
    line: usize,
}

impl Lexer {
    fn run(mut self) -> Vec<Token> {
        let mut tokens = Vec::new();
        while let Some(c) = self.peek(0) {
            let line = self.line;
            let kind = match c {
                '/' if self.peek(1) == Some('/') => self.skip_until(|c| c == '\n'),
                '/' if self.peek(1) == Some('*') => self.skip_block_comment(),
                '"' => self.skip_string(),
                '\'' => self.skip_char_or_lifetime(),
                ':' if self.peek(1) == Some(':') => {
                    self.skip(2);
                    Some(Kind::Colons)
                }
                c if c.is_alphanumeric() || c == '_' => self.word(),
                c => {
                    self.skip(1);
                    (!c.is_whitespace()).then_some(Kind::Mark(c))
                }
            };
            tokens.extend(kind.map(|kind| Token { line, kind }));
        }
        tokens
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.rest.get(self.at + ahead).copied()
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.line += usize::from(self.peek(0) == Some('\n'));
            self.at += 1;
        }
    }

    fn skip_until(&mut self, end: impl Fn(char) -> bool) -> Option<Kind> {
        while self.peek(0).is_some_and(|c| !end(c)) {
            self.skip(1);
        }
        None
    }

    fn skip_block_comment(&mut self) -> Option<Kind> {
        let mut open = 0_usize;
        while let Some(c) = self.peek(0) {
            match (c, self.peek(1)) {
                ('/', Some('*')) => {
                    open += 1;
                    self.skip(2);
                }
                ('*', Some('/')) => {
                    open -= 1;
                    self.skip(2);
                    if open == 0 {
                        break;
                    }
                }
                _ => self.skip(1),
            }
        }
        None
    }

    fn skip_string(&mut self) -> Option<Kind> {
        self.skip(1);
        while let Some(c) = self.peek(0) {
            self.skip(if c == '\\' { 2 } else { 1 });
            if c == '"' {
                break;
            }
        }
        None
    }

    fn skip_raw_string(&mut self, hashes: usize) -> Option<Kind> {
        self.skip(hashes + 1);
        while self.peek(0).is_some() {
            let ends = self.peek(0) == Some('"') && (1..=hashes).all(|i| self.peek(i) == Some('#'));
            self.skip(1);
            if ends {
                self.skip(hashes);
                break;
            }
        }
        None
    }

    /// `'x'` and `'\n'` are literals, `'a` is a lifetime.
    fn skip_char_or_lifetime(&mut self) -> Option<Kind> {
        if self.peek(1) == Some('\\') {
            self.skip(3);
            self.skip_until(|c| c == '\'');
            self.skip(1);
        } else if self.peek(2) == Some('\'') {
            self.skip(3);
        } else {
            self.skip(1);
            self.skip_until(|c| !(c.is_alphanumeric() || c == '_'));
        }
        None
    }

    /// An identifier, a number, or the prefix of a literal (`b"…"`, `r#"…"#`, `r#type`).
    fn word(&mut self) -> Option<Kind> {
        let start = self.at;
        self.skip_until(|c| !(c.is_alphanumeric() || c == '_'));
        let word: String = self
            .rest
            .get(start..self.at)
            .unwrap_or_default()
            .iter()
            .collect();
        let hashes = (0..).take_while(|i| self.peek(*i) == Some('#')).count();
        let quoted = self.peek(hashes) == Some('"');
        match word.as_str() {
            "r" | "br" | "cr" if quoted => self.skip_raw_string(hashes),
            "b" | "c" if quoted && hashes == 0 => self.skip_string(),
            "b" if self.peek(0) == Some('\'') => self.skip_char_or_lifetime(),
            "r" if hashes == 1 => {
                self.skip(1);
                self.word()
            }
            _ => Some(Kind::Ident(word)),
        }
    }
}
