//! `convocate install`: what the shell host needs, as steps.

use std::path::Path;

use serde_json::json;

use super::command::{Command, JSON, Parsed, ROOT};
use super::install::{BASE, NO_IMAGE, own_program, paths, public_key, session_image};
use super::out::{Failure, Out};
use super::steps::{CHECK, Manner, Tone, take};
use crate::base::rng::Rng;
use crate::exit::Exit;
use crate::io::entropy;
use crate::provision::engine::Mode;
use crate::provision::shell_host::{Facts, plan};

/// `install`.
pub const INSTALL_SHELL: Command = Command {
    name: "install",
    summary: "make this machine the shell host, or mend it",
    operands: &[],
    flags: &[CHECK, JSON, BASE, NO_IMAGE, ROOT],
    help: "\
Makes what is missing and mends what is not as it should be: the user claude, whose
login shell this program becomes, the directories, the status listener's host key and
service, the session image that agents are given, and where dnsmasq is installed, the
names of sessions in it. What is there and right is left alone. Needs root and systemd,
and Docker for the image.

With --root only directories and key are made, below DIR and for the user who runs it.
",
    run: install,
};

fn install(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let paths = paths(parsed, "convocate install")?;
    let manner = Manner::new(parsed.has(&CHECK), parsed.has(&JSON));
    let image = match (paths.is_system(), parsed.has(&NO_IMAGE)) {
        (true, false) => Some(session_image(&paths, parsed.value(&BASE))?),
        _ => None,
    };
    let facts = Facts {
        program: if paths.is_system() { own_program()? } else { Vec::new() },
        image,
        has_dnsmasq: Path::new("/usr/sbin/dnsmasq").exists(),
        paths: paths.clone(),
    };
    take(plan(&facts, &mut Rng::from_seed(entropy::seed())), &manner, out)?;
    if manner.mode == Mode::Check {
        return Ok(Exit::Done);
    }
    let host_key = public_key(&paths.status_host_key(), "status host key")?;
    if manner.tone == Tone::Json {
        out.json(&json!({ "line": "shell", "status_host_key": host_key }))?;
        return Ok(Exit::Done);
    }
    out.text(&format!("\nstatus host key  {host_key}"))?;
    if paths.is_system() && !facts.has_dnsmasq {
        out.note("dnsmasq is not installed: the names of sessions will not resolve here");
    }
    Ok(Exit::Done)
}
