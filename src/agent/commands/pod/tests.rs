use serde_json::json;

use super::*;

#[test]
fn only_names_reach_a_path() {
    check_names("shop", "web-7d9.x0").unwrap();
    for bad in [
        "",
        "../kube-system",
        "a/b",
        "a?x",
        "a#",
        "A",
        "a b",
        "a%2f",
        ".a",
        "a.",
        "-a",
        "..",
        &"a".repeat(254),
    ] {
        assert_eq!(
            check_names("shop", bad).unwrap_err().details["field"],
            "pod"
        );
        let error = check_names(bad, "web").unwrap_err();
        assert_eq!(error.code, "INVALID_REQUEST");
    }
}

fn code_of(code: u16, message: &str) -> String {
    let status = Status {
        code,
        message: message.to_owned(),
        ..Status::default()
    };
    let error = by_status(&status);
    assert!(error.message.contains(message));
    error.code
}

#[test]
fn refusals_keep_their_words() {
    assert_eq!(code_of(404, r#"pods "web" not found"#), "NOT_FOUND");
    assert_eq!(code_of(403, "pods is forbidden"), "FORBIDDEN");
    assert_eq!(
        code_of(400, "container x is not valid for pod web"),
        "NOT_FOUND"
    );
    assert_eq!(
        code_of(500, r#"exec: "x": executable file not found in $PATH"#),
        "NOT_FOUND"
    );
    assert_eq!(
        code_of(400, r#"container "a" in pod "b" is waiting to start"#),
        "SERVICE_UNAVAILABLE"
    );
    assert_eq!(code_of(500, ""), "TARGET_FAILED");
}

fn pod(statuses: Value) -> Pod {
    serde_json::from_value(json!({"status": {"containerStatuses": statuses}})).unwrap()
}

#[test]
fn a_container_is_found_by_its_name_or_because_it_is_the_only_one() {
    let status = |name: &str, state: &str| {
        json!({"name": name, "containerID": format!("containerd://{name}"), "image": "i", "imageID": "i",
               "ready": true, "restartCount": 0, "state": {state: {}},
               "lastState": {"terminated": {"exitCode": 1, "containerID": "containerd://z"}}})
    };
    let one = pod(json!([status("a", "running")]));
    let running = Instance {
        id: "containerd://a".into(),
        running: true,
        before: Some("containerd://z".into()),
    };
    assert_eq!(instance(&one, None), Some(running.clone()));
    assert_eq!(instance(&one, Some("b")), None);
    let two = pod(json!([status("a", "running"), status("b", "waiting")]));
    assert_eq!(instance(&two, None), None);
    assert_eq!(instance(&two, Some("a")), Some(running));
    assert!(!instance(&two, Some("b")).unwrap().running);
}
