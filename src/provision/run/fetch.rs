//! A file from elsewhere: fetched beside its place, compared with its checksum, and moved there
//! only then.
//!
//! What has come of it stays, and the next call goes on from its end. A server that does not know
//! how to go on, or has another file by now, is asked once more from the beginning.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::wait::{Stopped, Waiter};
use crate::base::hex;
use crate::io::clock::Clock;
use crate::io::disk;
use crate::limits::VM_FETCH_TIMEOUT;
use crate::provision::goal::download::curl;
use crate::provision::order::{Answer, End};
use crate::provision::vm::spec::Sha256Hex;

/// What is to be fetched.
pub(super) struct FetchRequest<'a> {
    pub(super) url: &'a str,
    pub(super) sha256: &'a Sha256Hex,
    pub(super) path: &'a Path,
}

const CHUNK_BYTES: usize = 256 * 1024;

pub(super) fn fetch(
    waiter: &mut Waiter,
    clock: &Clock,
    wanted: &FetchRequest<'_>,
) -> io::Result<Result<Answer, Stopped>> {
    let part = part(wanted.path);
    let mut is_resumed = fs::metadata(&part).is_ok_and(|found| found.len() > 0);
    // All of it may have come before, and no more than the last step be missing.
    if is_resumed && adopt(&part, wanted).is_ok_and(|it| it == Adopted::Right) {
        return Ok(Ok(Answer::Done));
    }
    loop {
        let into = ["--continue-at", "-", "--output"].map(str::to_owned);
        let into = into.into_iter().chain([part.display().to_string(), wanted.url.to_owned()]);
        let ran = match waiter.run(clock, &curl().with(into).within(VM_FETCH_TIMEOUT))? {
            Ok(ran) => ran,
            Err(stopped) => return Ok(Err(stopped)),
        };
        let adopted = match ran.is_success() {
            true => adopt(&part, wanted),
            false if !is_resumed => return Ok(Ok(Answer::Ran(ran))),
            // It may be the going on that failed; if it is the line, the next try fails, too.
            false if cannot_go_on(&ran.end) => Ok(Adopted::Wrong(String::new())),
            false => return Ok(Ok(Answer::Ran(ran))),
        };
        let found = match adopted {
            Ok(Adopted::Right) => return Ok(Ok(Answer::Done)),
            Ok(Adopted::Wrong(found)) => found,
            Err(error) => return Ok(Ok(Answer::Failed(error))),
        };
        if let Err(error) = disk::remove_file(&part) {
            return Ok(Ok(Answer::Failed(error.to_string())));
        }
        if !std::mem::take(&mut is_resumed) {
            let FetchRequest { url, sha256, .. } = wanted;
            return Ok(Ok(Answer::Failed(format!(
                "what came from {url} has SHA-256 {found}, and {sha256} is expected; it was thrown \
                 away"
            ))));
        }
    }
}

/// Where it is until it is all there.
fn part(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

/// curl(1), "EXIT CODES": an answer of 400 and above, as there is nothing behind the end; a server
/// without ranges; an end that does not fit.
fn cannot_go_on(end: &End) -> bool {
    [22, 33, 36].into_iter().any(|code| *end == End::Code(code))
}

#[derive(PartialEq, Eq)]
enum Adopted {
    Right,
    Wrong(String),
}

/// Moves what has come to its place, if it is right.
fn adopt(part: &Path, wanted: &FetchRequest<'_>) -> Result<Adopted, String> {
    let found = sha256(part).map_err(|error| format!("cannot read {}: {error}", part.display()))?;
    if found != wanted.sha256.as_str() {
        return Ok(Adopted::Wrong(found));
    }
    fs::rename(part, wanted.path)
        .map_err(|error| format!("cannot rename {}: {error}", part.display()))?;
    Ok(Adopted::Right)
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let (mut hash, mut chunk) = (Sha256::new(), vec![0; CHUNK_BYTES]);
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            count => hash.update(&chunk[..count]),
        }
    }
    Ok(hex::text(&hash.finalize()))
}

#[cfg(test)]
mod tests;
