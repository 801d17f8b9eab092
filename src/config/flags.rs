//! Settings in flags. The flags of a program, and their help, come from its [`Settings::NAMED`].

use std::path::PathBuf;

use clap::builder::ArgAction;
use clap::{Arg, ArgMatches, Command, Subcommand, ValueHint, value_parser};
use serde_json::Value as Schema;

use super::layers::Inputs;
use super::schema::schema;
use super::settings::{Flag, Named, Settings};
use super::tree::Path;
use super::variables::at;
use crate::build_info::VERSION;

const CONFIG: &str = "config";

/// What a program's help says of it.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// What it is, in a line.
    pub line: &'static str,
    /// What else there is to know before the flags.
    pub more: &'static str,
    /// What follows them: examples, signals, exit codes.
    pub examples: &'static str,
}

/// A program's command line: its flags, and the commands `C` beside running it.
#[must_use]
pub fn command<T: Settings, C: Subcommand>(about: About) -> Command {
    // What the enum of commands says of itself is not what the program is.
    C::augment_subcommands(add::<T>(Command::new(T::PROGRAM)))
        .subcommand_required(false)
        .arg_required_else_help(false)
        .version(VERSION)
        .about(about.line)
        .long_about(format!("{}\n\n{}", about.line, about.more))
        .after_help(about.examples)
        .max_term_width(110)
        .disable_help_subcommand(true)
}

/// Reads the process's command line and environment; ends the process where clap does.
#[must_use]
pub fn from_process<T: Settings, C: Subcommand>(command: Command) -> (Inputs, Option<C>) {
    let matches = command.get_matches();
    let chosen = matches
        .subcommand_name()
        .map(|_| C::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()));
    (Inputs::new::<T>(&matches, std::env::vars_os()), chosen)
}

/// Adds a program's flags to its command.
fn add<T: Settings>(command: Command) -> Command {
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
