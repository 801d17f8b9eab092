//! Names, checked before they become part of a path that the API server is asked for.

/// Bytes of a name or a group: what RFC 1123 lets a domain name have.
const MAX_NAME: usize = 253;

/// Bytes of a label's value, and of a namespace.
const MAX_LABEL: usize = 63;

/// Group and version; the group of `v1` is empty.
pub(super) fn group_version(api_version: &str) -> Option<(String, String)> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let usable = (group.is_empty() && !api_version.contains('/') || is_domain(group))
        && is_domain(version)
        && !version.contains('.');
    usable.then(|| (group.to_owned(), version.to_owned()))
}

/// What RFC 1123 lets a domain name be: groups, versions, plurals of resources.
pub(super) fn is_domain(text: &str) -> bool {
    text.len() <= MAX_NAME && text.split('.').all(is_domain_label)
}

fn is_domain_label(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(inside) && !text.starts_with('-') && !text.ends_with('-')
}

/// A namespace's name (RFC 1123 label).
pub(super) fn is_namespace(text: &str) -> bool {
    text.len() <= MAX_LABEL && is_domain_label(text)
}

/// A name that can stand in a path. Kinds have narrower rules, which the API server keeps to; the widest are those of
/// roles (`system:node`).
pub(super) fn is_path_segment(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:@".contains(&byte);
    !text.is_empty()
        && text.len() <= MAX_NAME
        && text.bytes().all(inside)
        && text.bytes().any(|byte| byte != b'.')
}

/// `Deployment`
pub(super) fn is_kind(text: &str) -> bool {
    text.len() <= MAX_LABEL && !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// A label's value that is not empty.
pub(super) fn is_label_value(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    text.len() <= MAX_LABEL && text.bytes().all(inside) && edge(bytes.first()) && edge(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_place_in_a_path() {
        for bad in ["", ".", "..", "a/b", "a%2f", "a?x", "a#", "a b", "ä"] {
            assert!(!is_path_segment(bad), "{bad}");
        }
        for good in ["web", "system:node", "a.b-c", "user@host"] {
            assert!(is_path_segment(good), "{good}");
        }
        for bad in [
            "",
            "/",
            "/v1",
            "apps/",
            "a/b/c",
            "../v1",
            "apps/v1?x",
            "v1.2",
        ] {
            assert_eq!(group_version(bad), None, "{bad}");
        }
        let apps = ("apps".to_owned(), "v1".to_owned());
        assert_eq!(group_version("apps/v1"), Some(apps));
        assert_eq!(group_version("v1"), Some((String::new(), "v1".to_owned())));
    }

    #[test]
    fn labels_and_namespaces() {
        assert!(is_label_value("Proj_1.x-2"));
        let long = "a".repeat(64);
        for bad in ["", "-a", "a-", "a b", "a/b", long.as_str()] {
            assert!(!is_label_value(bad), "{bad}");
            assert!(!is_namespace(bad), "{bad}");
        }
        assert!(is_namespace("shop-1"));
        assert!(!is_namespace("shop.1"));
        assert!(is_kind("ServiceMonitor") && !is_kind("a/b"));
    }
}
