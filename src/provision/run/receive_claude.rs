//! The Claude CLI of this host: what is there, and a new one in its place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use crate::base::hex;
use crate::base::text::printable;
use crate::io::{disk, machine};
use crate::limits::{CLAUDE_PROGRAM_BYTES_MAX, CLAUDE_VERSION_CHARS_MAX, CLAUDE_VERSION_SECONDS};
use crate::paths::{PUBLIC_FILE, Paths};
use crate::provision::enrol::messages::{InstalledClaude, ReceiveClaude};

const CHUNK_BYTES: usize = 256 * 1024;
const MODE: u32 = 0o755;

/// Length and SHA-256, in hexadecimal, of a file.
pub(crate) fn sha256_of(path: &Path) -> io::Result<(u64, String)> {
    let mut hash = Sha256::new();
    let bytes = pour(&mut File::open(path)?, u64::MAX, |piece| {
        hash.update(piece);
        Ok(())
    })?;
    Ok((bytes, hex::text(&hash.finalize())))
}

/// What this host has; `None` if there is no file.
pub(crate) fn installed(paths: &Paths) -> Option<InstalledClaude> {
    let path = paths.claude();
    let found = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
    let is_ours = found.uid() == 0 || found.uid() == machine::uid();
    let is_right = is_ours && found.mode() & 0o7777 == MODE;
    let (_, sha256) = sha256_of(&path).ok()?;
    Some(InstalledClaude { sha256, is_right, version: None })
}

/// What the program says of its version, as one line; asked as nobody, for some seconds.
pub(crate) fn version(paths: &Paths) -> Option<String> {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"]);
    command.args(["--inh-caps=-all", "env", "-i", "HOME=/nonexistent", "PATH=/usr/bin:/bin"]);
    command.args(["timeout", "-k", "1", &CLAUDE_VERSION_SECONDS.to_string()]);
    command.arg(paths.claude()).arg("--version").current_dir("/");
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let mut output = Vec::new();
    let limit = 4 * CLAUDE_VERSION_CHARS_MAX as u64;
    let read = child.stdout.take()?.take(limit).read_to_end(&mut output);
    let is_done = child.wait().is_ok_and(|status| status.success()) && read.is_ok();
    let text = String::from_utf8_lossy(&output);
    let line = printable(text.lines().next().unwrap_or_default().trim());
    let line: String = line.chars().take(CLAUDE_VERSION_CHARS_MAX).collect();
    (is_done && !line.is_empty()).then_some(line)
}

/// Puts the program that follows on `input` in its place, whole or not at all. Sessions that run
/// keep the one that they have.
///
/// # Errors
/// One sentence.
pub(crate) fn receive(
    paths: &Paths,
    wanted: &ReceiveClaude,
    input: &mut impl Read,
) -> Result<(), String> {
    let path = paths.claude();
    let part = path.with_file_name(".claude.part");
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    if wanted.bytes > CLAUDE_PROGRAM_BYTES_MAX {
        return Err(failed(&"the file is too large for a program"));
    }
    let done = path.parent().map_or(Ok(()), |above| disk::make_directories(above, MODE));
    done.and_then(|()| disk::remove_file(&part)).map_err(|error| error.to_string())?;
    let placed = write_part(&part, wanted, input).and_then(|is_right| {
        if is_right {
            // What is known as ours may be removed with us.
            let mark = format!("{}\n", wanted.sha256);
            disk::write_atomic(&paths.agent_claude_mark(), mark.as_bytes(), PUBLIC_FILE.1)
                .map_err(io::Error::other)?;
            fs::rename(&part, &path)?;
            path.parent().map_or(Ok(()), |above| File::open(above)?.sync_all())?;
        }
        Ok(is_right)
    });
    match placed {
        Ok(true) => Ok(()),
        other => {
            // The first error is the one to tell.
            let _ = disk::remove_file(&part);
            match other {
                Err(error) => Err(failed(&error)),
                Ok(_) => Err(failed(&"the program that arrived is not the one that was sent")),
            }
        }
    }
}

/// Writes what comes, durably; whether it is what was announced.
fn write_part(part: &Path, wanted: &ReceiveClaude, input: &mut impl Read) -> io::Result<bool> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(part)?;
    let mut hash = Sha256::new();
    let bytes = pour(input, wanted.bytes, |piece| {
        hash.update(piece);
        file.write_all(piece)
    })?;
    if bytes != wanted.bytes || hex::text(&hash.finalize()) != wanted.sha256 {
        return Ok(false);
    }
    file.set_permissions(fs::Permissions::from_mode(MODE))?;
    file.sync_all()?;
    Ok(true)
}

/// Hands on what is read, up to `limit` bytes. How many those were.
fn pour(
    input: &mut impl Read,
    limit: u64,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    let mut space = vec![0; CHUNK_BYTES];
    let mut input = input.take(limit);
    let mut total = 0;
    loop {
        let length = match input.read(&mut space) {
            Ok(0) => return Ok(total),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        take(&space[..length])?;
        total += length as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::scratch::Scratch;

    #[test]
    fn a_program_is_there_whole_or_not_at_all() {
        let scratch = Scratch::new();
        let paths = Paths::below(scratch.path());
        assert_eq!(installed(&paths), None);
        fs::create_dir_all(paths.agent_config()).unwrap();
        let program = b"#!/bin/sh\necho 1.2.3\n";
        let request = |bytes: &[u8]| ReceiveClaude {
            bytes: bytes.len() as u64,
            sha256: hex::text(&Sha256::digest(bytes)),
        };
        let mut input: &[u8] = b"#!/bin/sh\necho 1.2.3\nand what follows";
        receive(&paths, &request(program), &mut input).unwrap();
        assert_eq!(input, b"and what follows");
        let first = installed(&paths).unwrap();
        assert!(first.is_right && first.sha256 == request(program).sha256, "{first:?}");
        // One that is cut short or changed on its way leaves what was there.
        for wrong in [&program[..9], b"#!/bin/sh\necho 1.2.4\n", b""] {
            let error = receive(&paths, &request(program), &mut { wrong }).unwrap_err();
            assert!(error.contains("not the one that was sent"), "{error}");
            assert_eq!(installed(&paths).as_ref(), Some(&first));
        }
        let names = fs::read_dir(paths.claude().parent().unwrap()).unwrap().count();
        assert_eq!(names, 1);
        fs::set_permissions(paths.claude(), fs::Permissions::from_mode(0o775)).unwrap();
        assert!(!installed(&paths).unwrap().is_right);
    }
}
