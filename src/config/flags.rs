//! Settings in flags. The flags of a program, and their help, come from its [`Settings::NAMED`].

use std::path::PathBuf;

use clap::builder::ArgAction;
use clap::{Arg, ArgMatches, Command, ValueHint, value_parser};
use serde_json::Value as Schema;

use super::schema::schema;
use super::settings::{Flag, Named, Settings};
use super::tree::Path;
use super::variables::at;

const CONFIG: &str = "config";

/// Adds a program's flags to its command.
#[must_use]
pub fn add<T: Settings>(command: Command) -> Command {
    let files = T::FILES.join(" or ");
    let config = Arg::new(CONFIG)
        .long(CONFIG)
        .value_name("FILE")
        .value_hint(ValueHint::FilePath)
        .value_parser(value_parser!(PathBuf))
        .global(true)
        .help(format!(
            "YAML file with the settings [default: {files}, if there] [env: {}]",
            T::FILE_VARIABLE
        ));
    let schema = schema::<T>();
    let flags = T::NAMED
        .iter()
        .filter_map(|named| Some(arg(named, named.flag?, &schema)));
    command.arg(config).args(flags)
}

fn arg(named: &Named, flag: Flag, schema: &Schema) -> Arg {
    let mut help = flag.help.to_owned();
    let default = at(schema, &Path::dotted(named.path)).and_then(|schema| schema.get("default"));
    match default {
        Some(Schema::String(default)) => help.push_str(&format!(" [default: {default}]")),
        Some(Schema::Number(default)) => help.push_str(&format!(" [default: {default}]")),
        _ => {}
    }
    if let Some(variable) = named.variable {
        help.push_str(&format!(" [env: {variable}]"));
    }
    let arg = Arg::new(flag.name)
        .long(flag.name)
        .value_name(flag.value)
        .action(ArgAction::Set)
        .global(flag.global)
        .help(help);
    match flag.value {
        "FILE" => arg.value_hint(ValueHint::FilePath),
        "DIR" => arg.value_hint(ValueHint::DirPath),
        "BOOL" => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        _ => arg,
    }
}

/// The file that `--config` names.
pub(super) fn file(matches: &ArgMatches) -> Option<PathBuf> {
    matches.get_one(CONFIG).cloned()
}

/// Each flag that was given: its name, its key, and its value.
pub(super) fn given<T: Settings>(
    matches: &ArgMatches,
) -> Vec<(&'static str, &'static str, String)> {
    T::NAMED
        .iter()
        .filter_map(|named| {
            let name = named.flag?.name;
            let value: &String = matches.get_one(name)?;
            Some((name, named.path, value.clone()))
        })
        .collect()
}
