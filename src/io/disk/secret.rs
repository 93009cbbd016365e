//! Private keys are read only if nobody else could, and lists of keys if nobody else could write.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{getegid, geteuid, getgroups};
use zeroize::Zeroizing;

use super::access::mode_bits;
use super::file::{Links, open_regular, read_up_to};
use super::{DiskError, failed};

/// Who besides its owner may read a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretPolicy {
    /// Nobody.
    OwnerOnly,
    /// Also a group that this process is in, if root owns the file: how a service is given a key
    /// that it may use and not change. Root itself, who gave it, may use it too.
    ServiceGroup,
}

/// The part of [`std::fs::Metadata`] that decides.
#[derive(Clone, Copy, Debug)]
struct Access {
    owner: u32,
    group: u32,
    mode: u32,
}

/// Reads a secret of at most `limit` bytes, which leaves memory with the returned value.
///
/// # Errors
/// [`DiskError::Exposed`], naming the file, its mode and what to run, if the group (unless the
/// policy allows it) or anyone may read or write it; [`DiskError::Unfit`] if it belongs to neither
/// this user nor root.
pub(crate) fn read_secret(
    path: &Path,
    limit: usize,
    policy: SecretPolicy,
) -> Result<Zeroizing<Vec<u8>>, DiskError> {
    let (mut file, found) = open_regular(path, Links::Follow)?;
    let access = Access { owner: found.uid(), group: found.gid(), mode: mode_bits(&found) };
    let our_group = geteuid().is_root() || is_our_group(access.group, path)?;
    check(access, geteuid().as_raw(), our_group, policy, path)?;
    // All of the room at once: growing would leave copies behind.
    let size = usize::try_from(found.len()).unwrap_or(usize::MAX).min(limit);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 64));
    read_up_to(&mut file, limit, &mut bytes, path)?;
    Ok(bytes)
}

/// Reads a file of at most `limit` bytes that everybody may read and only this user or root may
/// have written.
///
/// # Errors
/// [`DiskError::Unfit`] if the group or anyone may write it, or if it is somebody else's.
pub(super) fn read_public(path: &Path, limit: usize) -> Result<Vec<u8>, DiskError> {
    let (mut file, found) = open_regular(path, Links::Follow)?;
    let unfit = |why| Err(DiskError::Unfit { path: path.to_owned(), why });
    if found.uid() != geteuid().as_raw() && found.uid() != 0 {
        return unfit("belongs to another user; it must be this user's or root's");
    }
    if mode_bits(&found) & 0o022 != 0 {
        return unfit("may be written by others; run chmod go-w on it");
    }
    let mut bytes = Vec::new();
    read_up_to(&mut file, limit, &mut bytes, path)?;
    Ok(bytes)
}

fn check(
    access: Access,
    user: u32,
    our_group: bool,
    policy: SecretPolicy,
    path: &Path,
) -> Result<(), DiskError> {
    if access.owner != user && access.owner != 0 {
        let why = "belongs to another user; a private key must be this user's or root's";
        return Err(DiskError::Unfit { path: path.to_owned(), why });
    }
    let shared = policy == SecretPolicy::ServiceGroup && access.owner == 0 && our_group;
    let (allowed, wanted) = if shared { (0o040, 0o640) } else { (0, 0o600) };
    if access.mode & 0o077 & !allowed != 0 {
        return Err(DiskError::Exposed { path: path.to_owned(), mode: access.mode, wanted });
    }
    Ok(())
}

fn is_our_group(group: u32, path: &Path) -> Result<bool, DiskError> {
    let groups = getgroups().map_err(failed("check the group of", path))?;
    Ok(getegid().as_raw() == group || groups.iter().any(|ours| ours.as_raw() == group))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::io::scratch::Scratch;

    #[test]
    fn an_exposed_key_is_refused_with_what_to_run() {
        let scratch = Scratch::new();
        let path = scratch.join("key");
        fs::write(&path, "secret").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o604)).unwrap();
        let error = read_secret(&path, 100, SecretPolicy::OwnerOnly).unwrap_err().to_string();
        let path_text = path.display();
        assert_eq!(
            error,
            format!(
                "{path_text} has mode 0604, so others could read it; run: chmod 0600 {path_text}"
            )
        );
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let secret = read_secret(&path, 100, SecretPolicy::OwnerOnly).unwrap();
        assert_eq!(secret.as_slice(), b"secret");
        assert!(read_secret(&path, 5, SecretPolicy::OwnerOnly).is_err());
    }

    #[test]
    fn the_group_may_read_only_what_root_gave_it() {
        const USER: u32 = 1000;
        let try_access = |owner, mode, our_group, policy| {
            let access = Access { owner, group: 5, mode };
            check(access, USER, our_group, policy, Path::new("/key")).is_ok()
        };
        let (alone, shared) = (SecretPolicy::OwnerOnly, SecretPolicy::ServiceGroup);
        assert!(try_access(0, 0o640, true, shared));
        assert!(try_access(0, 0o440, true, shared));
        assert!(!try_access(0, 0o640, true, alone));
        assert!(!try_access(0, 0o640, false, shared));
        assert!(!try_access(0, 0o660, true, shared));
        assert!(!try_access(0, 0o644, true, shared));
        assert!(!try_access(USER, 0o640, true, shared));
        assert!(try_access(USER, 0o600, false, alone));
        assert!(try_access(0, 0o600, false, alone));
        assert!(!try_access(1001, 0o600, false, alone));
    }
}
