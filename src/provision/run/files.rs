//! What stands at paths of this machine, and changing it. Names of accounts become numbers here.

use std::path::Path;

use crate::io::accounts::Accounts;
use crate::io::disk::{self, DiskError, FileStatus, Ids, Kind, Links};
use crate::limits::PROVISION_FILE_BYTES_MAX;
use crate::provision::order::{Access, Account, Answer, Entry, Seen};

/// Directories above one that is made: anyone may look inside, as in the rest of the system.
const PARENT_MODE: u32 = 0o755;

/// What stands at `path`.
pub(super) fn look(path: &Path) -> Result<Answer, String> {
    entry(path, false).map(Answer::Looked)
}

/// What stands at `path`, with the content of a file.
pub(super) fn read(path: &Path) -> Result<Answer, String> {
    entry(path, true).map(Answer::Looked)
}

fn entry(path: &Path, with_content: bool) -> Result<Entry, String> {
    let Some(found) = disk::look(path).map_err(text)? else { return Ok(Entry::Missing) };
    let seen = seen(found)?;
    Ok(match found.kind {
        Kind::Directory => Entry::Directory(seen),
        Kind::Link => Entry::Other("a symbolic link"),
        Kind::Special => Entry::Other("a socket, a pipe or a device"),
        Kind::File if with_content => {
            let limit = PROVISION_FILE_BYTES_MAX;
            let bytes = disk::read_bounded(path, limit, Links::Refuse).map_err(text)?;
            Entry::File { bytes, seen }
        }
        Kind::File => Entry::File { bytes: Vec::new(), seen },
    })
}

fn seen(found: FileStatus) -> Result<Seen, String> {
    let accounts = Accounts::read().map_err(text)?;
    let account = Account {
        user: accounts.users.name(found.ids.user),
        group: accounts.groups.name(found.ids.group),
    };
    Ok(Seen { account, mode: found.mode, changed_at: found.changed_at })
}

/// Replaces a file, or makes it.
pub(super) fn write(path: &Path, bytes: &[u8], access: &Access) -> Result<Answer, String> {
    let owner = ids(access)?;
    make_parent(path)?;
    disk::write_atomic_as(path, bytes, access.mode, owner).map_err(text)?;
    Ok(Answer::Done)
}

pub(super) fn make_directory(path: &Path, access: &Access) -> Result<Answer, String> {
    let owner = ids(access)?;
    make_parent(path)?;
    disk::make_directory(path, access.mode).map_err(text)?;
    disk::set_access(path, owner, access.mode).map_err(text)?;
    Ok(Answer::Done)
}

/// Gives what stands at `path` an owner and a mode.
pub(super) fn set_access(path: &Path, access: &Access) -> Result<Answer, String> {
    disk::set_access(path, ids(access)?, access.mode).map_err(text)?;
    Ok(Answer::Done)
}

pub(super) fn remove(path: &Path) -> Result<Answer, String> {
    disk::remove_file(path).map_err(text)?;
    Ok(Answer::Done)
}

fn make_parent(path: &Path) -> Result<(), String> {
    match path.parent() {
        Some(parent) => disk::make_directories(parent, PARENT_MODE).map_err(text),
        None => Ok(()),
    }
}

fn ids(access: &Access) -> Result<Option<Ids>, String> {
    let Some(Account { user, group }) = &access.owner else { return Ok(None) };
    let accounts = Accounts::read().map_err(text)?;
    let number = |name: &String| name.parse().ok();
    let user_id = accounts.users.number(user).or_else(|| number(user));
    let group_id = accounts.groups.number(group).or_else(|| number(group));
    let user_id = user_id.ok_or_else(|| format!("there is no user {user}"))?;
    let group_id = group_id.ok_or_else(|| format!("there is no group {group}"))?;
    Ok(Some(Ids { user: user_id, group: group_id }))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn text(error: DiskError) -> String {
    error.to_string()
}
