//! Both programs' configurations alike: files, variables and flags as a process would have them.

use std::ffi::OsString;

use clap::Command;
use pipeops_tunnel::agent::args::AgentArgs;
use pipeops_tunnel::agent::config::AgentConfig;
use pipeops_tunnel::config::{Inputs, Loaded, Path, Problems, Settings, schema};
use pipeops_tunnel::gateway::args::GatewayArgs;
use pipeops_tunnel::gateway::config::GatewayConfig;
use serde_json::Value;
use tempfile::NamedTempFile;

/// A configuration type, and the command line that goes with it.
pub trait Program: Settings {
    fn command() -> Command;
}

impl Program for AgentConfig {
    fn command() -> Command {
        AgentArgs::command()
    }
}

impl Program for GatewayConfig {
    fn command() -> Command {
        GatewayArgs::command()
    }
}

pub fn file(text: impl AsRef<[u8]>) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

/// What a process with these arguments and variables has.
pub fn inputs<T: Program>(args: &[&str], variables: &[(&str, &str)]) -> Inputs {
    let matches = T::command().get_matches_from([&[T::PROGRAM], args].concat());
    let variables = variables
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Inputs::new::<T>(&matches, variables)
}

pub fn load<T: Program>(args: &[&str], variables: &[(&str, &str)]) -> Result<Loaded<T>, Problems> {
    inputs::<T>(args, variables).load()
}

/// The configuration of a file alone, if it has the form that the schema asks for.
pub fn read<T: Program>(text: impl AsRef<[u8]>) -> Result<Loaded<T>, Problems> {
    let file = file(text);
    load(&["--config", file.path().to_str().unwrap()], &[])
}

/// The effective value at a path.
pub fn value<T: Settings>(config: &T, path: &str) -> Value {
    let config = serde_json::to_value(config).unwrap();
    let pointer = format!("/{}", path.replace('.', "/"));
    config.pointer(&pointer).unwrap().clone()
}

/// A key that the schema has: where, and its own schema.
#[derive(Debug, Clone)]
pub struct Key {
    pub path: Path,
    pub schema: Value,
    /// Whether it is a section, whose keys are listed too.
    pub section: bool,
}

/// Every key in the schema, in its order; those of list items as `forwards[].name`.
pub fn keys<T: Settings>() -> Vec<Key> {
    let mut found = Vec::new();
    collect(&schema::<T>(), &Path::default(), &mut found);
    found
}

fn collect(schema: &Value, path: &Path, found: &mut Vec<Key>) {
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = path.key(name);
        let section = schema.get("properties").is_some();
        found.push(Key {
            path: path.clone(),
            schema: schema.clone(),
            section,
        });
        collect(schema, &path, found);
        if schema["items"].get("properties").is_some() {
            let item = path.parent().key(&format!("{name}[]"));
            collect(&schema["items"], &item, found);
        }
    }
}
