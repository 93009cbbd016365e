//! Whom a new machine lets in: the keys with which the operator's ssh logs in on the hypervisor.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::io::disk::{self, Links};
use crate::io::signals;
use crate::limits::{ACCOUNTS_BYTES_MAX, VM_KEY_FILE_BYTES_MAX, VM_KEYS_MAX};
use crate::provision::openssh::{Ssh, Target};
use crate::provision::remote::connection::{Operator, settings};
use crate::provision::vm::guest::identity_files;
use crate::provision::workflow::WorkflowError;

/// The key in a file.
pub(super) fn read(path: &str) -> Result<String, WorkflowError> {
    let text = disk::read_bounded(Path::new(path), VM_KEY_FILE_BYTES_MAX, Links::Follow)
        .map_err(|error| WorkflowError::Failed(format!("--ssh-key: {error}")))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let found = text.lines().map(str::trim).find(|line| is_key(line)).map(str::to_owned);
    found.ok_or_else(|| {
        WorkflowError::Failed(format!(
            "--ssh-key: {path} has no public key; is it the .pub of two files?"
        ))
    })
}

/// Those of the agent, and of the files that ssh would try.
pub(super) fn of_operator(target: &Target) -> Result<Vec<String>, WorkflowError> {
    let operator = Operator::of_sudo();
    let operator = operator.as_ref();
    let ssh = Ssh {
        target: target.clone(),
        control: PathBuf::from("none"),
        operator: operator.map(|operator| operator.name.clone()),
        agent: None,
        is_recent: false,
    };
    let settings = settings(&ssh).map_err(|error| error.on(target.host()))?;
    let mut keys: Vec<String> = Vec::new();
    let mut take = |line: &str| {
        let line = line.trim();
        let body = |line: &str| line.split(' ').nth(1).map(str::to_owned);
        let is_new = !keys.iter().any(|key| body(key) == body(line));
        if is_key(line) && is_new && keys.len() < VM_KEYS_MAX {
            keys.push(line.to_owned());
        }
    };
    of_agent(operator).lines().for_each(&mut take);
    for file in identity_files(&settings) {
        let path = format!("{}.pub", expanded(file, operator));
        // Most of the files that ssh would try are not there.
        let text = disk::read_bounded(Path::new(&path), VM_KEY_FILE_BYTES_MAX, Links::Follow);
        String::from_utf8_lossy(&text.unwrap_or_default()).lines().for_each(&mut take);
    }
    match keys.is_empty() {
        true => Err(WorkflowError::Failed(
            "there is no public key that the machine could let in: neither in an agent nor beside \
             the keys of your ssh; make one (ssh-keygen) or give one with --ssh-key"
                .to_owned(),
        )),
        false => Ok(keys),
    }
}

/// What the operator's agent has; nothing if there is none.
fn of_agent(operator: Option<&Operator>) -> String {
    let mut call = match operator {
        Some(operator) => {
            let mut call = Command::new("sudo");
            call.args(["-n", "-H", "-u", &operator.name, "--", "env"]);
            call.args(operator.agent().map(|agent| format!("SSH_AUTH_SOCK={agent}")));
            call.args(["ssh-add", "-L"]);
            call
        }
        None => {
            let mut call = Command::new("ssh-add");
            call.arg("-L");
            call
        }
    };
    signals::reset_in_child(&mut call);
    let output = call.stdin(Stdio::null()).stderr(Stdio::null()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// A file as ssh names it: `~` is the home of whoever logs in.
pub(super) fn expanded(file: &str, operator: Option<&Operator>) -> String {
    let Some(rest) = file.strip_prefix("~/") else { return file.to_owned() };
    let home = match operator {
        Some(operator) => {
            disk::read_bounded(Path::new("/etc/passwd"), ACCOUNTS_BYTES_MAX, Links::Follow)
                .ok()
                .and_then(|text| home_of(&String::from_utf8_lossy(&text), &operator.name))
        }
        None => std::env::var("HOME").ok(),
    };
    format!("{}/{rest}", home.unwrap_or_default())
}

fn home_of(passwd: &str, name: &str) -> Option<String> {
    let mut lines = passwd.lines().map(|line| line.split(':'));
    let mut fields = lines.find(|fields| fields.clone().next() == Some(name))?;
    fields.nth(5).map(str::to_owned)
}

/// A public key: its kind, its body, perhaps a comment.
fn is_key(line: &str) -> bool {
    let mut words = line.split(' ');
    let kind = words.next().unwrap_or_default();
    let is_kind = ["ssh-", "ecdsa-", "sk-"].iter().any(|start| kind.starts_with(start));
    let is_body = |body: &str| {
        body.starts_with("AAAA")
            && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
    };
    is_kind && words.next().is_some_and(is_body) && !line.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_public_key_is_one() {
        for right in ["ssh-ed25519 AAAAC3 ann", "sk-ssh-ed25519@openssh.com AAAA=", "ecdsa-x AAAA"]
        {
            assert!(is_key(right), "{right}");
        }
        for wrong in [
            "",
            "ssh-ed25519",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "ssh-rsa x y",
            "command=\"x\" ssh-rsa AAAA",
            "ssh-rsa AAAA a\u{7}",
        ] {
            assert!(!is_key(wrong), "{wrong}");
        }
    }

    #[test]
    fn homes_are_found() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1:1:Ann,,,:/home/ann:/bin/sh\n";
        assert_eq!(home_of(passwd, "ann").as_deref(), Some("/home/ann"));
        assert_eq!(home_of(passwd, "an"), None);
        assert_eq!(expanded("/a/b", None), "/a/b");
    }
}
