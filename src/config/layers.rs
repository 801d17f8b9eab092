//! The layers of a configuration, each over the one before: defaults, the file, variables, flags.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path as FilePath, PathBuf};

use clap::ArgMatches;
use serde_json::Value as Schema;

use super::check::{Finding, check};
use super::file::Source;
use super::flags;
use super::problem::{Problem, Problems};
use super::schema::schema;
use super::settings::{Settings, Violation, Ways};
use super::tree::{Node, Origin, Path, Value};
use super::variables::{self, at, typed};

/// Everything but the file's content that a configuration is made of. It stays the same while a
/// program runs.
#[derive(Clone, Default)]
pub struct Inputs {
    file: Option<PathBuf>,
    variables: Vec<(String, String)>,
    flags: Vec<(&'static str, &'static str, String)>,
}

impl fmt::Debug for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Inputs").field(&self.file).finish()
    }
}

impl Inputs {
    /// From a command line whose flags are those of [`flags::command`], and an environment.
    #[must_use]
    pub fn new<T: Settings>(
        matches: &ArgMatches,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let mut file = flags::file(matches);
        let mut variables = Vec::new();
        for (name, value) in environment {
            let Some(name) = name.to_str().filter(|_| !value.is_empty()) else {
                continue;
            };
            if name == T::FILE_VARIABLE {
                file = file.or_else(|| Some(value.into()));
            } else if variables::is_setting::<T>(name) {
                variables.push((name.to_owned(), value.to_string_lossy().into_owned()));
            }
        }
        let flags = flags::given::<T>(matches);
        Self {
            file,
            variables,
            flags,
        }
    }

    /// The file that is read: the one that was named, or the first there is.
    #[must_use]
    pub fn file<T: Settings>(&self) -> Option<PathBuf> {
        let there = || {
            T::FILES
                .iter()
                .map(PathBuf::from)
                .find(|path| path.exists())
        };
        self.file.clone().or_else(there)
    }

    /// Reads the file and lays everything over it. What comes back has the form that the schema
    /// asks for; [`Loaded::validate`] checks the rest, of which commands need less than the program.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn load<T: Settings>(&self) -> Result<Loaded<T>, Problems> {
        let schema = schema::<T>();
        let default = serde_json::to_value(T::default()).unwrap_or_default();
        let default = Node::from_json(&default, &Origin::Default);
        let mut tree = default.clone();
        let mut source = None;
        if let Some(path) = self.file::<T>() {
            let (read, layer) = Source::load(&path, &schema)?;
            overlay::<T>(&mut tree, layer, &default);
            source = Some(read);
        }
        let mut findings = Vec::new();
        let layer = variables::read::<T>(&schema, &self.variables, &mut findings);
        overlay::<T>(&mut tree, layer, &default);
        overlay::<T>(&mut tree, self.flags(&schema, &mut findings), &default);
        findings.extend(check(&schema, &tree));
        let place = |finding| match &source {
            Some(source) => source.problem(finding),
            None => Problem::of(finding),
        };
        Problems::of(findings, place)?;
        let config = build(&tree)?;
        Ok(Loaded {
            config,
            tree,
            source,
        })
    }

    fn flags(&self, schema: &Schema, findings: &mut Vec<Finding>) -> Node {
        let mut tree = Node::from_json(&serde_json::json!({}), &Origin::Default);
        for (flag, path, value) in &self.flags {
            let (origin, path) = (Origin::Flag(flag), Path::dotted(path));
            match typed(at(schema, &path), value, &origin) {
                Ok(node) => tree.lay(&path, node),
                Err(reason) => findings.push(Violation::new(path, reason).at(origin)),
            }
        }
        tree
    }
}

/// A tree that has passed the checker as the type. That it does not fit is a defect of the schema,
/// and the message may quote what is in it.
pub(super) fn build<T: Settings>(tree: &Node) -> Result<T, Problems> {
    serde_json::from_value(tree.to_json()).map_err(|_| {
        let reason =
            "the schema lets a value pass that the program can not read; please report this";
        Problem::new(&Path::default(), reason.to_owned(), None).into()
    })
}

/// Lays a layer over what is below it; of keys that take each other's place, those that it does not
/// use fall back to their defaults.
fn overlay<T: Settings>(tree: &mut Node, layer: Node, default: &Node) {
    for ways in T::ALTERNATIVES {
        for unused in unused(ways, &layer) {
            let path = Path::dotted(unused);
            if let Some(node) = default.get(&path) {
                tree.set(&path, node.clone());
            }
        }
    }
    tree.merge(layer);
}

/// The keys of the other ways, where the layer uses one of them.
fn unused(ways: Ways, layer: &Node) -> Vec<&'static str> {
    let says = |path: &&&'static str| {
        let node = layer.get(&Path::dotted(path));
        node.is_some_and(|node| !matches!(node.value, Value::Null | Value::Bool(false)))
    };
    let used = |way: &&&'static [&'static str]| way.iter().any(|path| says(&path));
    if !ways.iter().any(|way| used(&way)) {
        return Vec::new();
    }
    let others = ways.iter().filter(|way| !used(way));
    others.flat_map(|way| way.iter().copied()).collect()
}

/// A configuration, and where each of its values comes from.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    /// The configuration.
    pub config: T,
    pub(super) tree: Node,
    pub(super) source: Option<Source>,
}

impl<T: Settings> Loaded<T> {
    /// Checks what no single value shows.
    ///
    /// # Errors
    /// Everything that is wrong, each where it was written.
    pub fn validate(&self) -> Result<(), Problems> {
        self.place(self.config.violations())
    }

    /// Checks the files that it names. Reads them.
    ///
    /// # Errors
    /// Everything that is wrong, each where it was written.
    pub fn check_files(&self) -> Result<(), Problems> {
        self.place(self.config.bad_files())
    }

    /// The file that was read.
    #[must_use]
    pub fn file(&self) -> Option<&FilePath> {
        self.source.as_ref().map(Source::path)
    }

    pub(super) fn place(&self, violations: Vec<Violation>) -> Result<(), Problems> {
        let findings = violations.into_iter().map(|violation| {
            let origin = self.blame(&violation.path);
            violation.at(origin)
        });
        Problems::of(findings.collect(), |finding| match &self.source {
            Some(source) => source.problem(finding),
            None => Problem::of(finding),
        })
    }

    /// Who set what is at a path.
    #[must_use]
    pub fn origin(&self, path: &Path) -> Origin {
        let node = self.tree.get(path);
        node.map_or(Origin::Default, |node| node.origin.clone())
    }

    /// Where a problem at a path is shown: where the value is, and else the section in the file that
    /// it is missing in.
    fn blame(&self, path: &Path) -> Origin {
        let own = self.origin(path);
        let mut path = path.clone();
        let mut nearest = own.clone();
        while nearest == Origin::Default && !path.is_root() {
            path = path.parent();
            nearest = self.origin(&path);
        }
        match nearest.mark() {
            Some(_) => nearest,
            None => own,
        }
    }
}
