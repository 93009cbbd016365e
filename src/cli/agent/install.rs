//! `convocate-agent install` and `prune-images`: what a host needs, as steps.

use std::path::Path;
use std::process::{Command as Process, Stdio};

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::agent;
use crate::base::hex;
use crate::base::rng::Rng;
use crate::cli::agent::enrol::install_wanted;
use crate::cli::command::{Command, Flag, JSON, Parsed, ROOT};
use crate::cli::host::remote::REQUEST;
use crate::cli::out::{Failure, Out};
use crate::cli::steps::{CHECK, Format, RunOptions, take};
use crate::exit::Exit;
use crate::io::disk::{self, Links};
use crate::io::{entropy, machine};
use crate::limits::{CONFIG_LINE_BYTES_MAX, DOCKER_REQUEST_BYTES_MAX, SSH_KEY_FILE_BYTES_MAX};
use crate::limits::{PROVISION_FILE_BYTES_MAX, PROVISION_OUTPUT_BYTES_MAX};
use crate::paths::Paths;
use crate::provision::engine::Mode;
use crate::provision::goal::image::Image;
use crate::provision::plan::agent_host::{Facts, plan, prune, public_line};
use crate::provision::run::found;

pub(crate) const BASE: Flag = Flag {
    name: "base",
    value: Some("IMAGE"),
    summary: "what the session image is built on, for a host without a network",
    choices: &[],
};
pub(crate) const NO_IMAGE: Flag = Flag {
    name: "no-image",
    value: None,
    summary: "leave the session image to whoever ships it here",
    choices: &[],
};

/// `install`.
pub(crate) const INSTALL: Command = Command {
    name: "install",
    summary: "make this machine an agent host, or mend one",
    operands: &[],
    flags: &[CHECK, JSON, BASE, NO_IMAGE, ROOT, REQUEST],
    help: "\
Makes what is missing and mends what is not as it should be: the user claude, the
agent's id and keys, its directories, the program in /usr/local/bin, the session
image, the slice that bounds all sessions, the daily removal of old images, and the
service. What is there and right is left alone, so it can be run again at any time;
the identity of a host is never changed. Needs root, systemd and Docker.

The image is built from the sources in this program, or from those in
/etc/convocate/image if that is there.

With --root only the directories, the id and the keys are made, below DIR and for
the user who runs it: to try things out, without root.
",
    run: install,
};

/// `prune-images`.
pub(crate) const PRUNE_IMAGES: Command = Command {
    name: "prune-images",
    summary: "remove session images that nothing uses any more",
    operands: &[],
    flags: &[CHECK, JSON],
    help: "\
An image stays while a container was made from it, and while current-image names it.
An installed host does this once a day.
",
    run: prune_images,
};

/// The paths that are meant; on an installed host only root may go on.
pub(crate) fn paths(parsed: &Parsed, command: &str) -> Result<Paths, Failure> {
    match parsed.value(&ROOT) {
        Some("") => Err(Failure::Usage("--root needs a directory".to_owned())),
        Some(root) => {
            let root = std::path::absolute(root);
            let root = root.map_err(|error| Failure::Usage(format!("--root: {error}")))?;
            Ok(Paths::below(root))
        }
        None if machine::uid() == 0 => Ok(Paths::default()),
        None => Err(Failure::Failed(format!("this needs root; run: sudo {command}"))),
    }
}

fn install(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let paths = paths(parsed, "convocate-agent install")?;
    if parsed.has(&REQUEST) {
        return install_wanted(&paths, out);
    }
    let manner = RunOptions::new(parsed.has(&CHECK), parsed.has(&JSON));
    let image = match (paths.is_system(), parsed.has(&NO_IMAGE)) {
        (true, false) => Some(session_image(&paths, parsed.value(&BASE))?),
        _ => None,
    };
    let facts = facts(&paths, image)?;
    take(plan(&facts, &mut Rng::from_seed(entropy::seed())), &manner, out)?;
    if manner.mode == Mode::Apply {
        introduce(&paths, manner.tone, out)?;
    }
    Ok(Exit::Done)
}

/// What the plan depends on, on this machine.
pub(crate) fn facts(paths: &Paths, image: Option<Image>) -> Result<Facts, Failure> {
    Ok(Facts {
        cores: machine::cores(),
        memory_bytes: machine::memory_bytes(),
        program: if paths.is_system() { own_program()? } else { Vec::new() },
        image,
        log_user: found::log_user(paths).map_err(Failure::Failed)?,
        paths: paths.clone(),
    })
}

/// The file that this process runs, wherever it lies and whatever has replaced it since.
pub(crate) fn own_program() -> Result<Vec<u8>, Failure> {
    let path = Path::new("/proc/self/exe");
    disk::read_bounded(path, PROVISION_FILE_BYTES_MAX, Links::Follow).map_err(failed)
}

/// The session image, from the host's own sources if it has any.
///
/// # Errors
/// When those cannot be packed.
pub(crate) fn session_image(paths: &Paths, base: Option<&str>) -> Result<Image, Failure> {
    let sources = paths.image_sources();
    let context = if sources.is_dir() { packed(&sources)? } else { agent::image::context() };
    if context.len() > DOCKER_REQUEST_BYTES_MAX {
        let limit = DOCKER_REQUEST_BYTES_MAX / 1024;
        let text = format!("{} has more than {limit} KiB", sources.display());
        return Err(Failure::Failed(text));
    }
    let mut hash = Sha256::new();
    hash.update(&context);
    hash.update(base.unwrap_or_default());
    let hash = hex::text(&hash.finalize()[..8]);
    Ok(Image { tag: agent::image::tag(), base: base.map(str::to_owned), context, hash })
}

/// A directory as a tar archive: the same files always make the same bytes.
fn packed(directory: &Path) -> Result<Vec<u8>, Failure> {
    let packer = Process::new("tar")
        .args(["--create", "--sort=name", "--owner=0", "--group=0", "--numeric-owner"])
        .args(["--mtime=@0", "--directory"])
        .arg(directory)
        .arg(".")
        .stderr(Stdio::piped())
        .output();
    let packer = packer.map_err(|error| Failure::Failed(format!("cannot run tar: {error}")))?;
    if !packer.status.success() || packer.stdout.len() > PROVISION_OUTPUT_BYTES_MAX {
        let words = String::from_utf8_lossy(&packer.stderr).trim().to_owned();
        let text = format!("cannot pack {}: {words}", directory.display());
        return Err(Failure::Failed(text));
    }
    Ok(packer.stdout)
}

/// Says who this agent is, and what is to be done with that.
fn introduce(paths: &Paths, tone: Format, out: &mut Out<'_>) -> Result<(), Failure> {
    let id = String::from_utf8_lossy(&read(&paths.agent_id())?).trim().to_owned();
    let host_key = public_key(&paths.agent_host_key(), "agent host key")?;
    let shell_key = public_key(&paths.agent_shell_key(), "agent to shell")?;
    if tone == Format::Json {
        return out.json(&json!({
            "line": "agent",
            "id": id,
            "host_key": host_key,
            "agent_to_shell_key": shell_key,
        }));
    }
    out.text(&format!(
        "\nagent id            {id}\n\
         host key            {host_key}\n\
         agent to shell key  {shell_key}"
    ))
}

/// The public half of a private key file, as a line.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn public_key(path: &Path, comment: &str) -> Result<String, Failure> {
    let line = public_line(&read(path)?, comment);
    line.map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    disk::read_bounded(path, SSH_KEY_FILE_BYTES_MAX, Links::Follow).map_err(failed)
}

fn prune_images(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let manner = RunOptions::new(parsed.has(&CHECK), parsed.has(&JSON));
    take(vec![prune(current_image(&Paths::default())?)], &manner, out)?;
    Ok(Exit::Done)
}

/// The image that new containers use.
///
/// # Errors
/// When the host cannot tell.
pub(crate) fn current_image(paths: &Paths) -> Result<String, Failure> {
    let path = paths.agent_current_image();
    match disk::read_bounded(&path, CONFIG_LINE_BYTES_MAX, Links::Follow) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).trim().to_owned()),
        Err(error) if error.is_missing() => Ok(agent::image::tag()),
        Err(error) => Err(failed(error)),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: disk::DiskError) -> Failure {
    Failure::Failed(error.to_string())
}
