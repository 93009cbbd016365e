//! Takes a session's directory that is sent here, and gives it its name when it is what was sent.
//!
//! ```text
//! stage -> compare -> receipt -> name
//! ```
//!
//! The staging directory lies beside the homes, under a name that no list shows. What a try before
//! has left there is removed. The receipt says that what bears the name may still lie on the host
//! that it came from, too; it is written before the name is given, and goes when that is over.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;

use crate::base::lines::Lines;
use crate::base::rng::Rng;
use crate::base::tree::TreeRecord;
use crate::base::uuid::Uuid;
use crate::io::disk::{self, Contents, DiskError, Links, TreeWriter, read_tree};
use crate::io::entropy;
use crate::limits::{SHIP_FRAME_BYTES, TREE_WORD_BYTES_MAX};
use crate::paths::{ARRIVAL_PREFIX, PRIVATE_STATE_DIR, Paths, SESSION_FILE};
use crate::provision::migrate::archive::{Decoder, Manifest};
use crate::provision::migrate::messages::{
    HeldSession, MigrateDecision, MigrateReply, MigrateRequest,
};
use crate::provision::ship::frame::{Unpacked, Unpacker};

/// Does what is wanted, and says what comes of it on `output`: whether it was done. `pick_up` has
/// the agent look for new directories.
///
/// # Errors
/// When nobody reads what is said. Everything else is said.
pub(crate) fn receive_session(
    paths: &Paths,
    wanted: &MigrateRequest,
    mut input: impl Read,
    mut output: impl Write,
    pick_up: impl FnOnce() -> Result<(), String>,
) -> io::Result<bool> {
    let done = match wanted {
        MigrateRequest::Look(ids) => {
            ids.iter().map(|&id| look(paths, id)).collect::<Result<_, _>>().map(MigrateReply::There)
        }
        MigrateRequest::Take { id, bytes, record } => {
            take(paths, *id, (*bytes, record.as_deref()), &mut input, &mut output)
                .map(|()| MigrateReply::Registered)
        }
        MigrateRequest::PickUp => pick_up().map(|()| MigrateReply::Done),
        MigrateRequest::Forget(ids) => ids
            .iter()
            .try_for_each(|&id| disk::remove_tree(&paths.session_receipt(id)))
            .map(|()| MigrateReply::Done)
            .map_err(text),
    };
    let word = done.unwrap_or_else(MigrateReply::Failed);
    say(&mut output, &word)?;
    Ok(!matches!(word, MigrateReply::Failed(_)))
}

fn look(paths: &Paths, id: Uuid) -> Result<HeldSession, String> {
    let receipt = paths.session_receipt(id);
    let receipt = match disk::read_bounded(&receipt, TREE_WORD_BYTES_MAX, Links::Refuse) {
        Ok(bytes) => Some(String::from_utf8_lossy(&bytes).trim().to_owned()),
        Err(error) if error.is_missing() => None,
        Err(error) => return Err(text(error)),
    };
    Ok(HeldSession { home: is_there(&paths.session(id)), receipt })
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn take(
    paths: &Paths,
    id: Uuid,
    (bytes, record): (u64, Option<&str>),
    input: &mut impl Read,
    output: &mut impl Write,
) -> Result<(), String> {
    if is_there(&paths.session(id)) || is_there(&paths.session_record(id)) && record.is_none() {
        return Err(format!("the agent has the session {id} already"));
    }
    let space = disk::measure(&paths.sessions()).map_err(text)?;
    if space.available_bytes < bytes {
        return Err(format!(
            "{} has {} MiB free, and the session has {}",
            paths.sessions().display(),
            space.available_bytes >> 20,
            bytes >> 20
        ));
    }
    remove_left_over(paths, id)?;
    say(output, &MigrateReply::Ready).map_err(|error| error.to_string())?;
    // A name of its own: another end of a lost connection may still write to the one before.
    let number = u64::from_le_bytes(Rng::from_seed(entropy::seed()).bytes());
    let staging = paths.session_arrival(id, number);
    let taken = stage(&staging, input, output)
        .and_then(|hash| register(paths, id, &staging, &hash, record));
    if taken.is_err() {
        // The first error is the one to tell; the next try removes it.
        let _left = disk::remove_tree(&staging);
    }
    taken
}

/// What tries before have left.
fn remove_left_over(paths: &Paths, id: Uuid) -> Result<(), String> {
    let homes = paths.sessions();
    let failed = |error: io::Error| format!("cannot read {}: {error}", homes.display());
    let prefix = format!("{ARRIVAL_PREFIX}{id}");
    for entry in fs::read_dir(&homes).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(&prefix)) {
            disk::remove_tree(&homes.join(name)).map_err(text)?;
        }
    }
    Ok(())
}

/// Writes what comes, and reads it again from the disk: its hash, once the other end has said that
/// it is the right one.
fn stage(staging: &Path, input: &mut impl Read, output: &mut impl Write) -> Result<String, String> {
    let mut writer = TreeWriter::new(staging).map_err(text)?;
    let mut rest = pour(input, |record| writer.write(record).map_err(text))?;
    writer.finish().map_err(text)?;
    let mut manifest = Manifest::default();
    let read = read_tree(staging, Contents::Read, |record| {
        manifest.add(record);
        ControlFlow::Continue(())
    });
    read.map_err(text)?;
    let sha256 = manifest.finish();
    let whole = MigrateReply::Whole { sha256: sha256.clone() };
    say(output, &whole).map_err(|error| error.to_string())?;
    let line = next_line(input, &mut rest)?;
    match serde_json::from_slice(&line) {
        Ok(MigrateDecision::Register) => Ok(sha256),
        Err(_) => Err("the sender does not say that it is whole".to_owned()),
    }
}

/// Gives the directory its name, when its record is there.
fn register(
    paths: &Paths,
    id: Uuid,
    staging: &Path,
    hash: &str,
    record: Option<&str>,
) -> Result<(), String> {
    let receipt = paths.session_receipt(id);
    disk::write_atomic(&receipt, format!("{hash}\n").as_bytes(), 0o600).map_err(text)?;
    if let Some(record) = record {
        // They belong to whom the agent runs as.
        let owner = disk::look(&paths.agent_state()).map_err(text)?.map(|state| state.ids);
        let records = paths.session_records();
        disk::make_directories(&records, PRIVATE_STATE_DIR.1).map_err(text)?;
        disk::set_access(&records, owner, PRIVATE_STATE_DIR.1).map_err(text)?;
        let path = paths.session_record(id);
        disk::write_atomic_as(&path, record.as_bytes(), SESSION_FILE.1, owner).map_err(text)?;
    }
    disk::rename_new(staging, &paths.session(id)).map_err(text)
}

/// From the frames into `take`, up to their end; what has come behind it.
fn pour(
    input: &mut impl Read,
    mut take: impl FnMut(TreeRecord<'_>) -> Result<(), String>,
) -> Result<Vec<u8>, String> {
    let (mut unpacker, mut decoder) = (Unpacker::default(), Decoder::default());
    let mut space = vec![0; SHIP_FRAME_BYTES];
    loop {
        let length = read(input, &mut space)?;
        let mut rest = &space[..length];
        while !rest.is_empty() {
            let pushed = unpacker.push(rest).map_err(|fault| fault.to_string())?;
            rest = &rest[pushed.0..];
            let mut plain = match pushed.1 {
                Unpacked::More => continue,
                Unpacked::Plain(plain) => plain,
                Unpacked::End if decoder.is_empty() => return Ok(rest.to_vec()),
                Unpacked::End => return Err("what was sent ends within a record".to_owned()),
            };
            while !plain.is_empty() {
                let (taken, record) = decoder.push(plain).map_err(|fault| fault.to_string())?;
                record.map_or(Ok(()), &mut take)?;
                plain = &plain[taken..];
            }
        }
    }
}

/// The next line, which may have begun in `held`.
fn next_line(input: &mut impl Read, held: &mut Vec<u8>) -> Result<Vec<u8>, String> {
    let mut lines = Lines::new(TREE_WORD_BYTES_MAX);
    let mut space = [0; 512];
    loop {
        lines.push(held).map_err(|error| error.to_string())?;
        if let Some(line) = lines.next_line() {
            return Ok(line);
        }
        let length = read(input, &mut space)?;
        *held = space[..length].to_vec();
    }
}

fn read(input: &mut impl Read, space: &mut [u8]) -> Result<usize, String> {
    loop {
        match input.read(space) {
            Ok(0) => return Err("the connection ended in the middle of the session".to_owned()),
            Ok(length) => return Ok(length),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("standard input: {error}")),
        }
    }
}

fn say(output: &mut impl Write, word: &MigrateReply) -> io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn text(error: DiskError) -> String {
    error.to_string()
}
