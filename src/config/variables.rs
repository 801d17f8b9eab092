//! Settings in environment variables: some have a name of their own, and one rule reaches all.
//!
//! The rule: `PIPEOPS__` and the key's path in upper case, joined by `__`. It wins over a variable's
//! own name, since it says more exactly what is meant. A variable that is empty is not set.

use serde_json::Value as Schema;

use super::check::{Finding, similar};
use super::schema::{allows, child, is_secret, property};
use super::settings::Settings;
use super::tree::{Node, Origin, Path, Value};
use super::yaml;

/// What the rule's variables begin with.
pub const PREFIX: &str = "PIPEOPS__";

/// The variable by which the rule reaches a path of names.
#[must_use]
pub fn variable(path: &Path) -> String {
    let path = path.to_string().replace('.', "__").to_uppercase();
    format!("{PREFIX}{path}")
}

/// The settings among these variables, as a tree.
pub(super) fn read<T: Settings>(
    schema: &Schema,
    variables: &[(String, String)],
    findings: &mut Vec<Finding>,
) -> Node {
    let mut tree = Node::from_json(&serde_json::json!({}), &Origin::Default);
    let named = T::NAMED.iter().filter_map(|named| {
        let (name, value) = variables
            .iter()
            .find(|(name, _)| Some(name.as_str()) == named.variable)?;
        Some((Path::dotted(named.path), name, value))
    });
    for (path, name, value) in named {
        put(&mut tree, schema, (&path, name, value), findings);
    }
    // In the order of names a map comes before its own keys, and they are laid over it.
    let mut ruled: Vec<_> = variables
        .iter()
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    ruled.sort();
    for (name, value) in ruled {
        match path_of(schema, name) {
            Some(path) => put(&mut tree, schema, (&path, name, value), findings),
            None => findings.push(unknown(schema, name)),
        }
    }
    tree
}

/// Whether this variable can set anything of this program. Kubernetes puts variables for each
/// service into its pods (`PIPEOPS_GATEWAY_PORT=tcp://…`); none of them is a setting.
pub(super) fn is_setting<T: Settings>(name: &str) -> bool {
    let named = T::NAMED.iter().any(|named| named.variable == Some(name));
    named || (name.starts_with(PREFIX) && !is_of_a_service(name))
}

/// See Kubernetes, "Discovering services", and Docker's `--link`, whose names it took over.
fn is_of_a_service(name: &str) -> bool {
    let of_a_port = |rest: &str| {
        let port = rest.split('_').next().unwrap_or_default();
        !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.ends_with("_PORT")
        || name
            .rsplit_once("_PORT_")
            .is_some_and(|(_, rest)| of_a_port(rest))
}

fn put(
    tree: &mut Node,
    schema: &Schema,
    (path, name, value): (&Path, &str, &str),
    findings: &mut Vec<Finding>,
) {
    let origin = Origin::Variable(name.to_owned());
    match typed(at(schema, path), value, &origin) {
        Ok(node) => tree.lay(path, node),
        Err(reason) => findings.push(Finding {
            path: path.clone(),
            origin,
            reason,
            help: None,
        }),
    }
}

/// A text as a value of the type that the schema asks for.
///
/// # Errors
/// Why it is not YAML, where it has to be.
pub(super) fn typed(schema: Option<&Schema>, text: &str, origin: &Origin) -> Result<Node, String> {
    let schema = schema.unwrap_or(&Schema::Null);
    if allows(schema, "string") {
        let text = if is_secret(schema) { text.trim() } else { text };
        return Ok(Node::new(origin.clone(), Value::Text(text.to_owned())));
    }
    yaml::parse(text, &|_| origin.clone())
        .map_err(|error| format!("the value is not YAML: {}", error.reason))
}

/// The schema of a path of names.
pub(super) fn at<'a>(schema: &'a Schema, path: &Path) -> Option<&'a Schema> {
    path.names()
        .try_fold(schema, |schema, name| child(schema, name))
}

fn path_of(schema: &Schema, variable: &str) -> Option<Path> {
    let names = variable.strip_prefix(PREFIX)?.to_lowercase();
    let mut path = Path::default();
    let mut here = schema;
    for name in names.split("__") {
        if name.is_empty() {
            return None;
        }
        here = child(here, name)?;
        path = path.key(name);
    }
    Some(path)
}

fn unknown(schema: &Schema, name: &str) -> Finding {
    let mut known = Vec::new();
    all(schema, &Path::default(), &mut known);
    let known: Vec<String> = known.iter().map(variable).collect();
    let help = match similar(name, known.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("{PREFIX} stands before a key's path, as in {PREFIX}LOG__LEVEL"),
    };
    Finding {
        path: Path::default(),
        origin: Origin::Variable(name.to_owned()),
        reason: "this variable names no setting".to_owned(),
        help: Some(help),
    }
}

/// Every path of names that a schema has.
fn all(schema: &Schema, path: &Path, found: &mut Vec<Path>) {
    let properties = schema.get("properties").and_then(Schema::as_object);
    for name in properties.into_iter().flatten().map(|(name, _)| name) {
        let path = path.key(name);
        if let Some(schema) = property(schema, name) {
            all(schema, &path, found);
        }
        found.push(path);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn variables_of_services_are_told_apart() {
        for name in [
            "PIPEOPS__X_SERVICE_HOST",
            "PIPEOPS__X_SERVICE_PORT",
            "PIPEOPS__X_SERVICE_PORT_HTTPS",
            "PIPEOPS__X_PORT",
            "PIPEOPS__X_PORT_443_TCP",
            "PIPEOPS__X_PORT_443_TCP_ADDR",
        ] {
            assert!(is_of_a_service(name), "{name}");
        }
        for name in ["PIPEOPS__LOG__LEVEL", "PIPEOPS__ADMIN__LISTEN"] {
            assert!(!is_of_a_service(name), "{name}");
        }
    }

    #[test]
    fn the_rule_finds_keys_and_what_is_in_maps() {
        let schema = json!({"properties": {
            "log": {"properties": {"level": {"type": "string"}}},
            "labels": {"additionalProperties": {"type": "string"}},
        }});
        let path = |name| path_of(&schema, name).map(|path| path.to_string());
        assert_eq!(path("PIPEOPS__LOG__LEVEL").as_deref(), Some("log.level"));
        assert_eq!(
            path("PIPEOPS__LABELS__REGION").as_deref(),
            Some("labels.region")
        );
        assert_eq!(path("PIPEOPS__LABELS__A__B"), None);
        assert_eq!(path("PIPEOPS__LOG__LEVLE"), None);
        assert_eq!(path("PIPEOPS__"), None);
        assert_eq!(
            unknown(&schema, "PIPEOPS__LOG__LEVLE").help.as_deref(),
            Some("did you mean PIPEOPS__LOG__LEVEL?")
        );
        assert_eq!(variable(&Path::dotted("log.level")), "PIPEOPS__LOG__LEVEL");
    }
}
