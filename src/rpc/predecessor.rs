//! Agents of the system before convocate, whose wire convocate continues.
//!
//! They tell neither ops nor commands. An absent field of their `edit` is an empty one, `list` has
//! null where there are no sessions, and attaching to a stopped session starts nothing: it is
//! refused with a text, a line of JSON behind it, and no status.

use super::call::Edit;
use super::field::{DnsName, FieldError, PortChoice, SessionName};
use super::response;
use super::session::Session;
use crate::limits::ATTACH_REFUSAL_BYTES_MAX;

/// Whether a session's agent is one of them.
pub(crate) fn has(session: &Session) -> bool {
    session.command.is_empty() && session.broken.is_none()
}

/// An edit with all that such an agent knows, as `session` has it now.
///
/// # Errors
/// It names what such an agent does not know; or `session` has a value that must be given anew.
pub(crate) fn whole_edit(edit: Edit, session: &Session) -> Result<Edit, String> {
    // All fields are named here, so that none that comes is forgotten.
    let Edit {
        id: _,
        name: _,
        port: _,
        protocol: _,
        dns_name: _,
        command,
        docker,
        memory,
        cpus,
        pids,
        egress,
        allow,
        publish,
        ssh_key,
        claude_login,
        env,
        prompt,
    } = &edit;
    let others = [command.is_some(), docker.is_some(), memory.is_some(), cpus.is_some()];
    let more = [pids.is_some(), egress.is_some(), allow.is_some(), publish.is_some()];
    let last = [ssh_key.is_some(), claude_login.is_some(), env.is_some(), prompt.is_some()];
    if others.into_iter().chain(more).chain(last).any(|is_given| is_given) {
        return Err(
            "its agent is of the system before convocate, where only name, port, protocol \
                    and DNS name can be changed; update it: convocate-host update"
                .to_owned(),
        );
    }
    let anew = |error: FieldError, flag: &str| format!("{error}; give it another with --{flag}");
    let name = match &edit.name {
        None => SessionName::parse(&session.name).map_err(|error| anew(error, "name"))?,
        Some(name) => name.clone(),
    };
    let dns_name = match &edit.dns_name {
        None => DnsName::parse(&session.dns_name).map_err(|error| anew(error, "dns"))?,
        Some(name) => name.clone(),
    };
    let kept = match session.port {
        0 => PortChoice::None,
        port => PortChoice::Fixed(port),
    };
    let port = Some(edit.port.unwrap_or(kept));
    let protocol = Some(edit.protocol.unwrap_or(session.protocol));
    Ok(Edit { name: Some(name), port, protocol, dns_name: Some(dns_name), ..edit })
}

/// Keeps what a terminal says at first, as long as it may be a refusal.
pub(crate) fn note_first(kept: &mut Vec<u8>, bytes: &[u8]) {
    if kept.len() <= ATTACH_REFUSAL_BYTES_MAX {
        kept.extend_from_slice(bytes);
    }
}

/// What a terminal that ended without a status has said with its last line, if all of it was short
/// and that is a refusal.
pub(crate) fn late_refusal(said: &[u8]) -> Option<String> {
    if said.len() > ATTACH_REFUSAL_BYTES_MAX {
        return None;
    }
    let last = said.trim_ascii_end().rsplit(|&byte| byte == b'\n').next()?;
    response::parse(last.trim_ascii()).ok()?.err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_last_line_of_few_is_a_refusal() {
        let said = |text: &str| late_refusal(text.as_bytes());
        let refusal = r#"{"ok":false,"error":"gone"}"#;
        assert_eq!(said(&format!("Error: not running\r\n{refusal}\r\n")).as_deref(), Some("gone"));
        for text in ["", "\n", "bye", r#"{"ok":true}"#, &format!("{refusal}\nmore")] {
            assert_eq!(said(text), None, "{text:?}");
        }
        let long = format!("{}\n{refusal}", "x".repeat(ATTACH_REFUSAL_BYTES_MAX));
        assert_eq!(said(&long), None);
    }
}
