//! The session image: its sources, which are inside the program, and its name.
//!
//! [`context`] is what the Engine's `POST /build` takes, or `docker build -` on its standard input.
//! The base is the build argument `BASE`.

/// What the image is built from.
pub const SOURCES: [Source; 3] = [
    Source { name: "Dockerfile", mode: 0o644, text: include_str!("image/Dockerfile") },
    Source { name: "entrypoint.sh", mode: 0o755, text: include_str!("image/entrypoint.sh") },
    Source { name: "tmux.conf", mode: 0o644, text: include_str!("image/tmux.conf") },
];

/// One file.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Its name in the context; shorter than 100 bytes.
    pub name: &'static str,
    /// Its mode.
    pub mode: u32,
    /// Its content.
    pub text: &'static str,
}

/// The image of this version of the program.
pub fn tag() -> String {
    format!("convocate:{}", env!("CARGO_PKG_VERSION"))
}

/// The sources as one tar archive. The same program always makes the same bytes.
pub fn context() -> Vec<u8> {
    let mut archive = Vec::new();
    for source in SOURCES {
        archive.extend_from_slice(&header(&source));
        archive.extend_from_slice(source.text.as_bytes());
        archive.resize(archive.len().next_multiple_of(BLOCK_BYTES), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK_BYTES, 0);
    archive
}

const BLOCK_BYTES: usize = 512;

/// A file's header in the ustar format (POSIX.1-2017, pax: ustar Interchange Format).
fn header(source: &Source) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, source.name.as_bytes());
    put(100, format!("{:07o}\0", source.mode).as_bytes());
    put(108, b"0000000\0"); // uid
    put(116, b"0000000\0"); // gid
    put(124, format!("{:011o}\0", source.text.len()).as_bytes());
    put(136, b"00000000000\0"); // time of change
    put(148, b"        "); // checksum, counted as blanks
    put(156, b"0"); // a plain file
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
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
    fn shells_read_the_entrypoint() {
        let entrypoint = SOURCES.iter().find(|source| source.name == "entrypoint.sh").unwrap();
        let check = Command::new("bash").args(["-n", "-c", entrypoint.text]).status().unwrap();
        assert!(check.success());
        assert_eq!(tag(), concat!("convocate:", env!("CARGO_PKG_VERSION")));
    }
}
