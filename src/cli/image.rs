//! The session image on its way from the shell host's Docker engine to an agent's.

use std::process::Command as Process;

use super::out::Failure;
use super::remote::Worker;

/// The layers of an image by their hashes, as JSON; `None` if the engine of this machine does not
/// have it.
pub fn layers(tag: &str) -> Option<String> {
    let output = Process::new("docker")
        .args(["image", "inspect", "--format", "{{json .RootFS.Layers}}", tag])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// Brings an image from one host's engine to another's, as one stream. What arrived is compared by
/// its layers' hashes afterwards, by whoever uses it.
///
/// # Errors
/// When one of both ends fails.
pub fn ship_image(from: &Worker, to: &Worker, tag: &str) -> Result<(), Failure> {
    let failed = |end: &str, why: &dyn std::fmt::Display| {
        Failure::Failed(format!(
            "cannot bring {tag} from {} to {}: {end}: {why}",
            from.name, to.name
        ))
    };
    let mut source = from.docker(&["save", tag]);
    let mut source = source
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .map_err(|error| failed("docker save", &error))?;
    let stream = source.stdout.take().expect("a pipe was asked for");
    let mut sink = to.docker(&["load"]);
    let loaded = sink.stdin(stream).output();
    let saved = source.wait().map_err(|error| failed("docker save", &error))?;
    let loaded = loaded.map_err(|error| failed("docker load", &error))?;
    if !loaded.status.success() {
        return Err(failed("docker load", &String::from_utf8_lossy(&loaded.stderr).trim()));
    }
    if !saved.success() {
        return Err(failed("docker save", &saved));
    }
    Ok(())
}
