//! How much of the disk a tree takes.
//!
//! Links are not followed, mounted places left alone. Somebody may change the tree meanwhile: what
//! cannot be read, or goes, is not counted.

use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, Dir, FileType, statat};
use rustix::io::Errno;

use super::walk::{is_dots, open_directory, open_entry, open_parent};
use crate::base::time::Mono;
use crate::io::clock::Clock;
use crate::limits::COPY_LEVELS_MAX;

/// The unit of `st_blocks`, whatever the file system's blocks are (stat(3type)).
const BLOCK_BYTES: u64 = 512;

/// The bytes that the tree at `path` takes: those that were counted within `time`, and of a file
/// with several names each. Nothing if it cannot be read.
pub(crate) fn tree_bytes(path: &Path, time: Duration) -> u64 {
    let mut bytes = 0;
    // What has gone by until an error is the answer.
    let _ = count(path, time, &mut bytes);
    bytes
}

fn count(path: &Path, time: Duration, bytes: &mut u64) -> Result<(), Errno> {
    let clock = Clock::new();
    let (above, name) = open_parent(path).map_err(|_| Errno::NOENT)?;
    let mut levels = vec![Dir::new(open_directory(&open_entry(&above, &name)?)?)?];
    while let Some(level) = levels.last_mut() {
        let Some(Ok(entry)) = level.read() else {
            levels.pop();
            continue;
        };
        let name = entry.file_name();
        if is_dots(name) {
            continue;
        }
        if clock.mono() > Mono::ZERO + time {
            return Ok(());
        }
        let Ok(found) = statat(level.fd()?, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        *bytes += found.st_blocks.cast_unsigned() * BLOCK_BYTES;
        if FileType::from_raw_mode(found.st_mode) == FileType::Directory
            && levels.len() < COPY_LEVELS_MAX
            && let Some(level) = levels.last()
            && let Ok(below) = open_entry(&level.fd()?, name).and_then(|it| open_directory(&it))
        {
            levels.push(Dir::new(below)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::io::scratch::Scratch;

    #[test]
    fn what_is_in_it_is_counted_and_what_it_links_to_is_not() {
        let scratch = Scratch::new();
        let tree = scratch.join("tree");
        fs::create_dir_all(tree.join("deep/deeper")).unwrap();
        fs::write(scratch.join("outside"), vec![1; 4 << 20]).unwrap();
        fs::write(tree.join("deep/deeper/file"), vec![1; 1 << 20]).unwrap();
        fs::write(tree.join("hole"), "").unwrap();
        fs::File::options().write(true).open(tree.join("hole")).unwrap().set_len(1 << 40).unwrap();
        symlink(scratch.join("outside"), tree.join("link")).unwrap();
        symlink("..", tree.join("deep/round")).unwrap();
        let bytes = tree_bytes(&tree, Duration::from_secs(60));
        assert!((1 << 20..2 << 20).contains(&bytes), "{bytes}");
        assert_eq!(tree_bytes(&tree, Duration::ZERO), 0);
        assert_eq!(tree_bytes(&scratch.join("none"), Duration::from_secs(60)), 0);
        assert_eq!(tree_bytes(&tree.join("link"), Duration::from_secs(60)), 0);
    }
}
