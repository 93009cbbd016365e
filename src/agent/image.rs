//! The session image: its sources, which are inside the program, and its name.
//!
//! [`context`] is what the Engine's `POST /build` takes, or `docker build -` on its standard input.
//! The base is the build argument `BASE`.

use crate::base::ustar;

/// Runs a session's command inside tmux, with both runtimes.
pub(crate) const PANE: &str = include_str!("image/pane.sh");

/// What the image is built from.
pub(crate) const SOURCES: [Source; 4] = [
    Source { name: "Dockerfile", mode: 0o644, text: include_str!("image/Dockerfile") },
    Source { name: "entrypoint.sh", mode: 0o755, text: include_str!("image/entrypoint.sh") },
    Source { name: "pane.sh", mode: 0o755, text: PANE },
    Source { name: "tmux.conf", mode: 0o644, text: include_str!("image/tmux.conf") },
];

#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    /// Its name in the context; shorter than 100 bytes.
    pub(crate) name: &'static str,
    pub(crate) mode: u32,
    pub(crate) text: &'static str,
}

/// The image of this version of the program.
pub fn tag() -> String {
    format!("convocate:{}", env!("CARGO_PKG_VERSION"))
}

/// The sources as one tar archive. The same program always makes the same bytes.
pub(crate) fn context() -> Vec<u8> {
    let mut archive = Vec::new();
    for source in SOURCES {
        let length = source.text.len() as u64;
        archive.extend_from_slice(&ustar::header(source.name, source.mode, length));
        archive.extend_from_slice(source.text.as_bytes());
        archive.extend_from_slice(ustar::padding(length));
    }
    archive.extend_from_slice(&ustar::END);
    archive
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn tar_reads_the_context() {
        let directory = std::env::temp_dir().join(format!("convocate-tar-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let mut tar = Command::new("tar")
            .args(["-x", "-p", "-C"])
            .arg(&directory)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        tar.stdin.take().unwrap().write_all(&context()).unwrap();
        assert!(tar.wait().unwrap().success());
        for source in SOURCES {
            let text = std::fs::read_to_string(directory.join(source.name)).unwrap();
            assert_eq!(text, source.text);
        }
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn shells_read_the_scripts() {
        for source in SOURCES.iter().filter(|source| source.name.ends_with(".sh")) {
            let check = Command::new("bash").args(["-n", "-c", source.text]).status().unwrap();
            assert!(check.success(), "{}", source.name);
        }
        assert_eq!(tag(), concat!("convocate:", env!("CARGO_PKG_VERSION")));
    }
}
