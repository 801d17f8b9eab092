//! The platform's API by `curl`, as users' pipelines call it.

use super::{gateway::Gateway, temp_dir};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Someone with a token.
#[derive(Debug)]
pub struct Api {
    pub url: String,
    ca: PathBuf,
    /// `Authorization: Bearer …`, in a file: arguments are for all to see.
    header: PathBuf,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The body, of an answer with this status.
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        if self.text.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// The code of an error with this status.
    pub fn refused(self, status: u16) -> String {
        self.expect(status)["error"]["code"]
            .as_str()
            .expect("a code")
            .to_owned()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

impl Api {
    /// As the holder of this token.
    pub fn with_token(gateway: &Gateway, token: &str) -> Self {
        let header = temp_dir("api").join("header");
        fs::write(&header, format!("Authorization: Bearer {token}")).unwrap();
        Self {
            url: format!("https://localhost:{}", gateway.addr.port()),
            ca: gateway.ca(),
            header,
        }
    }

    /// Whoever may do everything in all clusters.
    pub fn operator(gateway: &Gateway) -> Self {
        let mut args = vec![
            "token",
            "create",
            "user",
            "--subject",
            "op@example.com",
            "--role",
            "admin",
            "--all-clusters",
        ];
        for scope in ["admin", "read", "deploy", "logs", "exec", "tunnel:*"] {
            args.extend(["--scope", scope]);
        }
        Self::with_token(gateway, &gateway.cli(&args))
    }

    /// The file with the header that says who asks.
    pub fn header(&self) -> &Path {
        &self.header
    }

    /// curl with these arguments, before it runs.
    pub fn command(&self, args: &[&str], path: &str) -> Command {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--max-time", "120", "--cacert"])
            .arg(&self.ca);
        command
            .arg("--header")
            .arg(format!("@{}", self.header.display()));
        command.args(args).arg(format!("{}{path}", self.url));
        command
    }

    pub fn call(&self, args: &[&str], path: &str) -> Answer {
        let head = temp_dir("curl").join("head");
        let mut command = self.command(args, path);
        command.arg("--dump-header").arg(&head).stdin(Stdio::null());
        let out = command.output().expect("curl");
        let stderr = String::from_utf8_lossy(&out.stderr);
        let head = fs::read_to_string(head).unwrap_or_default();
        let status = head
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("HTTP/")?.split(' ').nth(1)?.parse().ok());
        Answer {
            status: status.unwrap_or_else(|| panic!("no answer: {stderr}")),
            head,
            text: String::from_utf8(out.stdout).unwrap(),
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call(&[], path)
    }

    pub fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let file = temp_dir("body").join("body.json");
        fs::write(&file, body.to_string()).unwrap();
        let data = format!("@{}", file.display());
        self.call(
            &[
                "-X",
                method,
                "-H",
                "Content-Type: application/json",
                "--data-binary",
                &data,
            ],
            path,
        )
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, body)
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.call(&["-X", "DELETE"], path)
    }
}
