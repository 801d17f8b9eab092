//! Configurations that an agent refuses, and what it says.

use pipeops_tunnel::agent::config::AgentConfig;

use crate::table::page;

/// A good file, to which the cross-field cases add something bad.
const GOOD: &str = "pipeops: {api_url: 'https://g.example', token_file: /t}\n";

/// What the schema alone refuses.
pub const VALUES: &[(&str, &str)] = &[
    (
        "the pattern of the contract",
        "agent: {cluster_name: Production}",
    ),
    ("a name with a space", "agent: {cluster_name: my cluster}"),
    ("an empty name", "agent: {cluster_name: ''}"),
    (
        "a name of 64 characters",
        "agent: {cluster_name: aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd}",
    ),
    ("a name that is a number", "agent: {cluster_name: 42}"),
    ("a name that is a boolean", "agent: {cluster_name: true}"),
    ("a name that is a list", "agent: {cluster_name: [a]}"),
    ("an id with a slash", "agent: {cluster_id: a/b}"),
    ("an id of another kind", "agent:\n  cluster_id: 1.5\n"),
    ("a namespace in capitals", "agent: {namespace: Default}"),
    ("a namespace that ends in a dash", "agent: {namespace: a-}"),
    ("no namespace", "agent: {namespace: ~}"),
    ("labels as a list", "agent: {labels: [a, b]}"),
    (
        "a label that is a number",
        "agent:\n  labels:\n    version: 1.2\n    region: eu\n",
    ),
    ("a label that is a map", "agent: {labels: {a: {b: c}}}"),
    ("a section as text", "agent: production"),
    ("a section as nothing", "agent:\ntunnel: {enabled: true}\n"),
    ("a section as a list", "tunnel:\n- enabled: true\n"),
    ("a key in capitals", "Agent: {cluster_name: a}"),
    ("a mistyped section", "tunel: {enabled: true}"),
    ("a mistyped key", "agent: {clustername: a}"),
    ("a key with dashes", "agent: {cluster-name: a}"),
    ("a key of another section", "agent: {api_url: 'https://x'}"),
    ("a key like no other", "zzz: 1"),
    ("a merge key", "x: &x {enabled: true}\ntunnel: {<<: *x}\n"),
    ("http", "pipeops: {api_url: 'http://g.example'}"),
    (
        "a port that is none",
        "pipeops: {api_url: 'https://g.example:port'}",
    ),
    ("no scheme", "pipeops: {api_url: g.example}"),
    ("a path", "pipeops: {api_url: 'https://g.example/v1'}"),
    ("a URL that is a number", "pipeops: {api_url: 443}"),
    ("an empty token", "pipeops: {token: ''}"),
    ("a token that is a number", "pipeops: {token: 112233445566}"),
    ("a token that is a map", "pipeops: {token: {value: canary}}"),
    ("a token under another name", "pipeops: {tokn: canary}"),
    ("a token where a section belongs", "pipeops: canary"),
    ("a token file that is a list", "pipeops: {token_file: [/t]}"),
    ("a time without a unit", "pipeops: {timeout: 30}"),
    ("a time in words", "pipeops: {timeout: soon}"),
    ("a time below nothing", "pipeops: {timeout: -5s}"),
    (
        "a proxy as text",
        "pipeops: {proxy: 'http://u:canary@proxy:3128'}",
    ),
    (
        "an unknown kind of carrier",
        "tunnel: {carriers: {prefer: [tls, pigeon]}}",
    ),
    ("too many carriers", "tunnel: {carriers: {count: 5}}"),
    ("no carrier", "tunnel: {carriers: {count: 0}}"),
    ("tunnel.enabled as yes", "tunnel: {enabled: yes}"),
    ("tunnel.enabled in quotes", "tunnel: {enabled: 'true'}"),
    ("tunnel.enabled as a number", "tunnel: {enabled: 1}"),
    ("forwards as a map", "tunnel: {forwards: {grafana: 'g:80'}}"),
    ("a forward as text", "tunnel: {forwards: ['grafana=g:80']}"),
    ("a forward as nothing", "tunnel:\n  forwards:\n  -\n"),
    ("a forward without anything", "tunnel: {forwards: [{}]}"),
    (
        "a forward without an address",
        "tunnel:\n  forwards:\n  - name: a\n",
    ),
    (
        "a forward's name in capitals",
        "tunnel: {forwards: [{name: Grafana, local_addr: 'g:80'}]}",
    ),
    (
        "a forward's name with a dash before",
        "tunnel: {forwards: [{name: -a, local_addr: 'g:80'}]}",
    ),
    (
        "an address without a port",
        "tunnel: {forwards: [{name: a, local_addr: g}]}",
    ),
    (
        "an address with a scheme",
        "tunnel: {forwards: [{name: a, local_addr: 'http://g:80'}]}",
    ),
    (
        "an address with too large a port",
        "tunnel: {forwards: [{name: a, local_addr: 'g:99999'}]}",
    ),
    (
        "an unknown protocol",
        "tunnel: {forwards: [{name: a, local_addr: 'g:80', protocol: sctp}]}",
    ),
    (
        "a protocol in capitals",
        "tunnel: {forwards: [{name: a, local_addr: 'g:80', protocol: HTTP}]}",
    ),
    (
        "an unknown prefix",
        "tunnel: {forwards: [{name: a, local_addr: 'g:80', prefix: no}]}",
    ),
    (
        "a mistyped key of a forward",
        "tunnel:\n  forwards:\n  - name: a\n    localaddr: g:80\n",
    ),
    (
        "an unknown key of the second forward",
        "tunnel:\n  forwards:\n  - {name: a, local_addr: 'g:80'}\n  - name: b\n    local_addr: g:80\n    tls: true\n",
    ),
    ("kubernetes.enabled as text", "kubernetes: {enabled: on}"),
    (
        "a kubeconfig that is a number",
        "kubernetes: {kubeconfig: 5}",
    ),
    ("an unknown identity", "kubernetes: {identity: me}"),
    ("read_only as nothing", "kubernetes: {read_only: }"),
    (
        "an admin address by name",
        "admin: {listen: 'localhost:8080'}",
    ),
    ("an admin port alone", "admin: {listen: 8080}"),
    ("an admin port beyond all", "admin: {listen: ':70000'}"),
    ("an admin token of a wrong type", "admin: {token: [canary]}"),
    (
        "a metrics address",
        "monitoring: {prometheus: {listen: 'x'}}",
    ),
    ("monitoring as a boolean", "monitoring: true"),
    (
        "prometheus.enabled as nothing",
        "monitoring: {prometheus: {enabled: null}}",
    ),
    ("a log level that is none", "log: {level: verbose}"),
    ("a log level that is a number", "log: {level: 3}"),
    ("a log filter that is none", "log: {level: 'info,a=loud'}"),
    ("an unknown log format", "log: {format: xml}"),
    (
        "many at once",
        "agent: {cluster_name: A B, x: canary}\npipeops:\n  token: 5\n  timeout: 5\ntunnel: {forwards: [{name: ' '}]}\nlog: {format: 0}\n",
    ),
];

#[test]
fn values_and_keys() {
    insta::assert_snapshot!("agent_values", page::<AgentConfig>(VALUES));
}

/// What the schema accepts, and is of no use together. Each begins with `+` where it is added to a good file.
const TOGETHER: &[(&str, &str)] = &[
    ("nothing at all", ""),
    ("an empty platform", "pipeops: {}\n"),
    ("no URL", "pipeops:\n  token_file: /t\n"),
    ("no token", "pipeops:\n  api_url: https://g.example\n"),
    (
        "both forms of the token",
        "pipeops:\n  api_url: https://g.example\n  token: canary\n  token_file: /t\n",
    ),
    (
        "no time to connect",
        "pipeops: {api_url: 'https://g.example', token_file: /t, timeout: 0s}\n",
    ),
    (
        "two weeks to connect",
        "pipeops: {api_url: 'https://g.example', token_file: /t, timeout: 14d}\n",
    ),
    (
        "a proxy that is none for HTTP",
        "pipeops: {api_url: 'https://g.example', token_file: /t, proxy: {url: 'socks5://u:canary@proxy:1080'}}\n",
    ),
    (
        "a kind of carrier twice",
        "+tunnel: {carriers: {prefer: [tls, websocket, tls]}}",
    ),
    ("no kind of carrier", "+tunnel: {carriers: {prefer: []}}"),
    (
        "both forms of the admin token",
        "+admin: {token: canary, token_file: /t}",
    ),
    (
        "a forward named as the cluster's API",
        "+tunnel: {forwards: [{name: kubernetes, local_addr: 'g:80'}]}",
    ),
    (
        "two forwards of one name",
        "+tunnel:\n  forwards:\n  - {name: a, local_addr: 'g:80'}\n  - {name: a, local_addr: 'g:81'}\n",
    ),
    (
        "a CA that nobody looks at",
        "+tunnel:\n  forwards:\n  - name: a\n    local_addr: g:80\n    ca_file: /c\n    insecure_skip_verify: true\n",
    ),
    (
        "no time to answer",
        "+tunnel:\n  forwards:\n  - {name: a, local_addr: 'g:80', response_timeout: 0s}\n",
    ),
    (
        "no time for Kubernetes",
        "+kubernetes: {response_timeout: 0ms}",
    ),
    ("a drain of two days", "+drain_timeout: 2d"),
];

#[test]
fn what_no_single_value_shows() {
    let whole = |text: &str| match text.strip_prefix('+') {
        Some(more) => format!("{GOOD}{more}"),
        None => text.to_owned(),
    };
    let cases: Vec<_> = TOGETHER
        .iter()
        .map(|(name, text)| (*name, whole(text)))
        .collect();
    let cases: Vec<_> = cases
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    insta::assert_snapshot!("agent_together", page::<AgentConfig>(&cases));
}

#[test]
fn what_is_no_yaml() {
    let cases = [
        ("an unclosed quote", "agent: {cluster_name: \"canary}\n"),
        (
            "an unclosed list",
            "tunnel:\n  forwards: [a, canary\nlog: {}\n",
        ),
        ("an unclosed map", "pipeops: {token: canary\n"),
        ("the wrong bracket", "pipeops: {token: canary]\n"),
        ("a tab", "agent:\n\tcluster_name: canary\n"),
        ("a colon too many", "agent: cluster_name: canary\n"),
        ("a token with a colon", "pipeops:\n  token: can: ary\n"),
        ("a token that begins with @", "pipeops:\n  token: @canary\n"),
        (
            "a token that begins with `",
            "pipeops:\n  token: `canary`\n",
        ),
        (
            "bad indentation",
            "agent:\n  cluster_name: a\n cluster_id: canary\n",
        ),
        ("a list in a map", "agent:\n  cluster_name: a\n- b\n"),
        ("a key twice", "agent: {}\nlog: {}\nagent: {}\n"),
        (
            "a token twice",
            "pipeops:\n  token: canary-1\n  token: canary-2\n",
        ),
        (
            "two documents",
            "log: {level: info}\n---\nlog: {level: debug}\n",
        ),
        ("an unknown alias", "pipeops: {token: *canary}\n"),
        ("an alias of itself", "agent: &a {labels: *a}\n"),
        ("a tag", "pipeops: {token: !secret canary}\n"),
        ("a key that is a list", "? [agent]\n: {}\n"),
        ("a bad escape", "agent: {cluster_name: \"\\q\"}\n"),
        ("text alone", "production\n"),
        ("a list", "- agent\n- log\n"),
        ("a number", "5\n"),
    ];
    insta::assert_snapshot!("agent_syntax", page::<AgentConfig>(&cases));
}
