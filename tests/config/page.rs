//! The reference page of both programs' configuration: what of it is written by hand is here, the rest is the types'.

use std::fmt::Write;

use pipeops_tunnel::agent::config::AgentConfig;
use pipeops_tunnel::config::{Path, Settings, variable};
use pipeops_tunnel::gateway::config::GatewayConfig;
use serde_json::Value;

use crate::program::{Key, keys};

const INTRO: &str = "\
# Configuration

<!-- Made from the types in src/*/config.rs by tests/config: PIPEOPS_BLESS=1 cargo test --test config generated -->

Both programs read their settings in the same way. `pipeops-agent validate` and `pipeops-gateway validate` check them and
tell everything that is wrong, each with its line; `config print` shows every value in force and where it comes from;
`config schema` prints the JSON Schema, which is also in [proto/config.schema.json](../proto/config.schema.json) and
[proto/gateway-config.schema.json](../proto/gateway-config.schema.json). An editor that knows
`# yaml-language-server: $schema=…` completes and checks while you type.

## Where a value comes from

Each layer wins over those before it:

1. the default;
2. the file: `--config`, else the variable `PIPEOPS_AGENT_CONFIG` or `PIPEOPS_GATEWAY_CONFIG`, else the first that exists
   of the program's own places (below);
3. environment variables;
4. flags.

Maps are laid over each other key by key: `admin: {token: …}` in the file leaves `admin.listen` at its default. Lists and
single values are replaced as a whole.

Some keys take each other's place: the token and its file, a certificate's files and a self-signed one. A layer that uses
one of them sets aside what the layers before it say by the other, so `PIPEOPS_TOKEN` is enough even where the file names
a `token_file`. Both in one layer are an error.

**Variables.** Keys that are often set have a variable of their own, named in the tables. One rule reaches every key:
`PIPEOPS__`, and the key's path in upper case, joined by `__`:

    PIPEOPS__TUNNEL__ENABLED=false
    PIPEOPS__AGENT__LABELS__REGION=eu
    PIPEOPS__TUNNEL__FORWARDS='[{name: grafana, local_addr: \"grafana.monitoring.svc:80\"}]'

The rule's variable wins over the key's own. A value for a key that holds text is taken as it is; any other is read as
YAML, so that maps and lists (as well as JSON) can be given. Keys of maps, such as labels, come out in lower case; for
others give the map as a whole. A variable that is empty counts as not set. One that begins with `PIPEOPS__` and names no
key is an error; the variables that Kubernetes makes of services (`PIPEOPS_GATEWAY_PORT=tcp://…`) are passed over.

**Flags** are for the command line; there is none for a secret, since every user of a machine sees arguments.

## How values are written

- **Durations** are a number and a unit: `500ms`, `30s`, `15m`, `12h`, `90d` (a day is 24 hours), also `1h30m`.
- **Addresses to listen on** are `127.0.0.1:8080`, `[::1]:8080`, or `:8080`: in a pod that is every address, elsewhere
  loopback alone. Port 0 takes a free one.
- **Text** that looks like a number or a boolean has to be quoted: `region: \"1\"`.
- **Secrets** are never shown: not in logs, in `/config`, in `config print`, nor in the lines that an error shows.
- The file is one YAML document of at most 1 MiB, in UTF-8. Unknown and repeated keys are errors.

## Changing it while it runs

SIGHUP, or a change of the file's content (which is looked at every two seconds, so that a ConfigMap's volume works too),
makes a program read everything again. Keys marked *yes* under \"live\" take effect at once; requests under way keep what
they began with. The log names every key that changed, with both values, and says `restart to apply` for those that can
not change live. A new file that has a problem changes nothing: the old configuration stays in force and the log tells what
is wrong. Files that the configuration names (tokens, CAs, certificates) are read again where the tables say so; a
refused agent whose token file changes tries again at once.

To keep a section unset, leave its keys out; `null` stands for \"not set\" where a key has no default.
";

/// The whole page.
pub fn page() -> String {
    let mut page = INTRO.to_owned();
    section::<AgentConfig>(&mut page);
    section::<GatewayConfig>(&mut page);
    page
}

fn section<T: Settings>(page: &mut String) {
    let files: Vec<String> = T::FILES.iter().map(|file| format!("`{file}`")).collect();
    writeln!(page, "\n## {}\n", T::PROGRAM).unwrap();
    writeln!(
        page,
        "The file is {}, unless `--config` or `{}` names another.\n",
        files.join(", else "),
        T::FILE_VARIABLE
    )
    .unwrap();
    writeln!(
        page,
        "| key | what it is | type | default | variable | flag | live |"
    )
    .unwrap();
    writeln!(page, "| --- | --- | --- | --- | --- | --- | --- |").unwrap();
    for key in keys::<T>() {
        writeln!(page, "{}", row::<T>(&key)).unwrap();
    }
}

fn row<T: Settings>(key: &Key) -> String {
    let path = key.path.to_string();
    let about = key.schema["description"]
        .as_str()
        .expect("every key has a description");
    let about = about.replace("\n\n", "<br>").replace('|', "\\|");
    if key.section {
        return format!(
            "| **`{path}`** | {about} | section | | `{}` | | |",
            variable(&key.path)
        );
    }
    let in_list = path.contains("[]");
    let named = T::NAMED.iter().find(|named| named.path == path);
    let own = named
        .and_then(|named| named.variable)
        .map_or_else(|| variable(&key.path), str::to_owned);
    let own = if in_list {
        String::new()
    } else {
        format!("`{own}`")
    };
    let flag = named
        .and_then(|named| named.flag)
        .map(|flag| format!("`--{}`", flag.name))
        .unwrap_or_default();
    let default = key
        .schema
        .get("default")
        .map(|default| format!("`{default}`").replace('"', ""));
    let default = default.unwrap_or_default();
    let live = if is_live::<T>(&path.replace("[]", "")) {
        "yes"
    } else {
        ""
    };
    let kind = kind(&key.schema);
    format!("| `{path}` | {about} | {kind} | {default} | {own} | {flag} | {live} |")
}

fn is_live<T: Settings>(path: &str) -> bool {
    let path = Path::dotted(path).to_string();
    T::LIVE
        .iter()
        .any(|live| path == *live || path.starts_with(&format!("{live}.")))
}

fn kind(schema: &Value) -> String {
    let is = |kind: &str| schema["type"] == kind || schema["type"][0] == kind;
    if schema["writeOnly"] == true {
        return "secret".to_owned();
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values
            .iter()
            .map(|value| format!("`{}`", value.as_str().unwrap()))
            .collect();
        return values.join(", ");
    }
    match schema["format"].as_str() {
        Some("period") => return "duration".to_owned(),
        Some("listen") => return "address to listen on".to_owned(),
        Some("address") => return "address and port".to_owned(),
        Some("https-url") => return "URL".to_owned(),
        Some("cidr") => return "networks".to_owned(),
        Some("endpoint") => return "host:port".to_owned(),
        Some("log-filter") => return "level or filter".to_owned(),
        Some(other) => panic!("the page has no word for the format {other}"),
        None => {}
    }
    if is("array") {
        let items = if schema["items"].get("properties").is_some() {
            "maps".to_owned()
        } else {
            kind(&schema["items"])
        };
        return format!("list of {items}");
    }
    if is("object") {
        return format!("map of {}", kind(&schema["additionalProperties"]));
    }
    if is("integer") {
        return format!("number, {} to {}", schema["minimum"], schema["maximum"]);
    }
    if is("boolean") {
        return "`true` or `false`".to_owned();
    }
    assert!(is("string"), "the page has no word for {schema}");
    match schema["pattern"].as_str() {
        Some(pattern) => format!("text, `{}`", pattern.replace('|', "\\|")),
        None => "text".to_owned(),
    }
}
