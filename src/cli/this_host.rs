//! What commands ask of the machine that they run on: its name, its paths, its program, its keys,
//! its session image.

use std::path::Path;
use std::process::{Command as Process, Stdio};

use sha2::{Digest, Sha256};

use crate::agent;
use crate::base::hex;
use crate::cli::command::Parsed;
use crate::cli::output::Failure;
use crate::cli::shared_flags::{ROOT, root_paths};
use crate::io::disk::{self, Links};
use crate::io::machine;
use crate::limits::{
    CONFIG_LINE_BYTES_MAX, DOCKER_REQUEST_BYTES_MAX, PROVISION_OUTPUT_BYTES_MAX,
    SSH_KEY_FILE_BYTES_MAX,
};
use crate::paths::Paths;
use crate::provision::goal::image::Image;
use crate::provision::plan::agent_host::{AgentHostFacts, public_line};
use crate::provision::remote::programs;
use crate::provision::run::found;

/// The paths below `--root`, made absolute. Without `--root` only root may go on.
pub(crate) fn installed_paths(parsed: &Parsed) -> Result<Paths, Failure> {
    let paths = root_paths(parsed)?;
    if !parsed.has(&ROOT) {
        needs_root()?;
        return Ok(paths);
    }
    let root = std::path::absolute(paths.root());
    let root = root.map_err(|error| Failure::Usage(format!("--root: {error}")))?;
    Ok(Paths::below(root))
}

/// Root alone may change this machine.
///
/// # Errors
/// What to run instead: this very call, by the program's place, which sudo may not look in.
pub(crate) fn needs_root() -> Result<(), Failure> {
    if machine::uid() == 0 {
        return Ok(());
    }
    let program = std::env::current_exe().unwrap_or_default().display().to_string();
    let arguments = std::env::args_os().skip(1).map(|it| it.to_string_lossy().into_owned());
    let call = std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ");
    Err(Failure::Failed(format!("this needs root; run: sudo {call}")))
}

/// What the plan depends on, on this machine.
pub(crate) fn agent_facts(paths: &Paths, image: Option<Image>) -> Result<AgentHostFacts, Failure> {
    Ok(AgentHostFacts {
        cores: machine::cores(),
        memory_bytes: machine::memory_bytes(),
        program: if paths.is_system() { own_program()? } else { Vec::new() },
        image,
        log_user: found::log_user(paths).map_err(Failure::Failed)?,
        has_nftables: !paths.is_system() || found::has_nftables(),
        paths: paths.clone(),
    })
}

/// The file that this process runs, wherever it lies and whatever has replaced it since.
pub(crate) fn own_program() -> Result<Vec<u8>, Failure> {
    programs::own_program().map_err(failed)
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

/// The public half of a private key file, as a line.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn public_key(path: &Path, comment: &str) -> Result<String, Failure> {
    let line = public_line(&read_config(path)?, comment);
    line.map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))
}

pub(crate) fn read_config(path: &Path) -> Result<Vec<u8>, Failure> {
    disk::read_bounded(path, SSH_KEY_FILE_BYTES_MAX, Links::Follow).map_err(failed)
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
