//! Disk work on threads: quick jobs in their order, long ones beside them.
//!
//! Metadata and locks go to one thread, one after the other. Making, copying and removing whole
//! homes can take minutes and has threads of its own. Operations on one session never overlap (the
//! core sees to that), so the two kinds do not race.

use std::cmp::Reverse;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::given::give_settings;
use crate::agent::action::WorkId;
use crate::agent::docker::description::ssh_config;
use crate::agent::environment::SSH_CONFIG;
use crate::agent::session_key::{KeyChange, KeyFile};
use crate::agent::work::{DiskWork, Done, Outcome, StartFiles, WorkError};
use crate::base::uuid::Uuid;
use crate::io::cgroup::Cgroups;
use crate::io::disk::{self, CopyOptions, DiskError, Ids};
use crate::io::reactor::Waker;
use crate::io::worker::{Crew, Worker};
use crate::limits::{DISK_JOBS_MAX, DISK_LONG_THREADS, SESSIONS_MAX};
use crate::paths::{PUBLIC_FILE, Paths, SESSION_DIR, SESSION_FILE, SHARED_STATE_DIR};

type Job = (WorkId, DiskWork);
type Report = (WorkId, Outcome);

#[derive(Debug)]
pub(super) struct Disk {
    quick: Worker<Job, Report>,
    long: Worker<Job, Report>,
}

impl Disk {
    pub(super) fn start(paths: &Paths, cgroups: Cgroups, waker: &Waker) -> io::Result<Disk> {
        let crew = |name, threads| Crew { name, threads, jobs_max: DISK_JOBS_MAX };
        let start = |crew| {
            let (paths, cgroups) = (paths.clone(), cgroups.clone());
            Worker::start(crew, waker, move |(id, work): Job| (id, perform(&paths, &cgroups, work)))
        };
        Ok(Disk {
            quick: start(crew("disk", 1))?,
            long: start(crew("disk-long", DISK_LONG_THREADS))?,
        })
    }

    /// Hands work over. If too much is in flight already, the refusal comes back at once.
    pub(super) fn submit(&mut self, id: WorkId, work: DiskWork) -> Option<Outcome> {
        let worker = if is_long(&work) { &mut self.long } else { &mut self.quick };
        let busy = |_| Err(WorkError::Disk(format!("{DISK_JOBS_MAX} disk jobs are in flight")));
        worker.submit((id, work)).map_err(busy).err()
    }

    /// A result that has come.
    pub(super) fn next_result(&mut self) -> Option<Report> {
        self.quick.next_result().or_else(|| self.long.next_result())
    }
}

fn is_long(work: &DiskWork) -> bool {
    match work {
        DiskWork::Create { .. }
        | DiskWork::Clone { .. }
        | DiskWork::Erase { .. }
        | DiskWork::CountHomes { .. } => true,
        // The whole home may change hands.
        DiskWork::Lock { start: Some(files), .. } if files.metadata.is_some() => true,
        DiskWork::Save { .. }
        | DiskWork::SetAside { .. }
        | DiskWork::Lock { .. }
        | DiskWork::Unlock { .. }
        | DiskWork::Measure { .. } => false,
    }
}

fn perform(paths: &Paths, cgroups: &Cgroups, work: DiskWork) -> Outcome {
    let (_, mode) = SESSION_FILE;
    let done = match work {
        DiskWork::Create { id, metadata, owner, key } => {
            let new = NewHome { id, metadata, owner, key };
            return made(make_home(paths, &paths.skeleton(), &new));
        }
        DiskWork::Clone { source, target, metadata, owner, key } => {
            return made(clone_home(paths, source, &NewHome { id: target, metadata, owner, key }));
        }
        DiskWork::Save { id, metadata, key } => save(paths, id, &metadata, key.as_ref()),
        DiskWork::SetAside { id } => {
            // In this order: what is left after a crash is listed, and can be deleted.
            set_aside(paths, id)
                .and_then(|()| disk::remove_file(&paths.session_key(id)))
                .and_then(|()| disk::remove_tree(&paths.session_socket_dir(id)))
                .and_then(|()| disk::remove_tree(&paths.session_given_dir(id)))
                .and_then(|()| disk::remove_tree(&paths.session_record(id)))
                .and_then(|()| disk::remove_tree(&paths.session_lock(id)))
        }
        DiskWork::Erase { id } => disk::remove_tree(&paths.session_remains(id)),
        // In this order: of a record and a home that do not go together, the next start is told by
        // the home.
        DiskWork::Lock { id, content, start } => start
            .map_or(Ok(()), |files| make_ready(paths, id, &files))
            .and_then(|()| disk::write_atomic(&paths.session_lock(id), &content, mode)),
        DiskWork::Unlock { id } => disk::remove_tree(&paths.session_lock(id)),
        DiskWork::CountHomes { within } => return count_homes(paths, within),
        DiskWork::Measure { containers } => return measure(paths, cgroups, &containers),
    };
    done.map(|()| Done::Done).map_err(failed)
}

/// A key stands on disk before the record that names it. One that no record names is replaced.
fn make_ready(paths: &Paths, id: Uuid, files: &StartFiles) -> Result<(), DiskError> {
    files.key.as_ref().map_or(Ok(()), |key| write_key(paths, id, key))?;
    if let Some(metadata) = &files.metadata {
        disk::write_atomic(&paths.session_record(id), metadata, SESSION_FILE.1)?;
    }
    if files.has_socket {
        disk::make_directories(&paths.session_socket_dir(id), SHARED_STATE_DIR.1)?;
    }
    if files.is_carried {
        let path = paths.session_socket_dir(id).join(SSH_CONFIG);
        disk::write_atomic(&path, ssh_config().as_bytes(), PUBLIC_FILE.1)?;
    }
    if let Some(settings) = &files.settings {
        give_settings(paths, id, settings, files.owner)?;
    }
    files.owner.map_or(Ok(()), |owner| disk::give_tree(&paths.session(id), owner))
}

fn save(
    paths: &Paths,
    id: Uuid,
    metadata: &[u8],
    key: Option<&KeyChange>,
) -> Result<(), DiskError> {
    if let Some(KeyChange::Write(key)) = key {
        write_key(paths, id, key)?;
    }
    disk::write_atomic(&paths.session_record(id), metadata, SESSION_FILE.1)?;
    match key {
        Some(KeyChange::Remove) => disk::remove_file(&paths.session_key(id)),
        Some(KeyChange::Write(_)) | None => Ok(()),
    }
}

fn write_key(paths: &Paths, id: Uuid, key: &KeyFile) -> Result<(), DiskError> {
    disk::write_atomic(&paths.session_key(id), key.as_bytes(), SESSION_FILE.1)
}

/// A home in the making.
struct NewHome {
    id: Uuid,
    metadata: Vec<u8>,
    owner: Option<u32>,
    key: KeyChange,
}

fn made(copied: Result<u64, DiskError>) -> Outcome {
    copied.map(|left_out| Done::Made { left_out }).map_err(failed)
}

fn set_aside(paths: &Paths, id: Uuid) -> Result<(), DiskError> {
    match disk::rename_new(&paths.session(id), &paths.session_remains(id)) {
        Err(error) if error.is_missing() => Ok(()),
        other => other,
    }
}

/// A clone of what is not there is an error, unlike a home from no skeleton.
fn clone_home(paths: &Paths, source: Uuid, new: &NewHome) -> Result<u64, DiskError> {
    let source = paths.session(source);
    disk::measure(&source)?;
    make_home(paths, &source, new)
}

/// Makes a home under a name that is not listed, and moves it to its own when it is whole and has a
/// record: a crash leaves nothing, a session, or the record of one, which lists and can be deleted.
/// Gives the number of files and directories that could not be read.
fn make_home(paths: &Paths, source: &Path, new: &NewHome) -> Result<u64, DiskError> {
    let (draft, record) = (paths.session_draft(new.id), paths.session_record(new.id));
    disk::remove_tree(&draft)?;
    let made = fill_draft(&draft, source, new.owner).and_then(|left_out| {
        save(paths, new.id, &new.metadata, Some(&new.key))?;
        disk::rename_new(&draft, &paths.session(new.id))?;
        Ok(left_out)
    });
    if made.is_err() {
        // The first error is the one to tell; the next start removes what is left.
        let _ = disk::remove_tree(&record)
            .and_then(|()| disk::remove_file(&paths.session_key(new.id)))
            .and_then(|()| disk::remove_tree(&draft));
    }
    made
}

fn fill_draft(draft: &Path, source: &Path, owner: Option<u32>) -> Result<u64, DiskError> {
    // Where an earlier version kept its record.
    let options = CopyOptions { without: &["session.json"], owner };
    let left_out = match disk::copy_tree(source, draft, options) {
        // A host without a skeleton gives empty homes.
        Err(error) if error.is_missing() => {
            disk::make_directory(draft, SESSION_DIR.1)?;
            0
        }
        copied => copied?.unreadable,
    };
    if let Some(id) = owner {
        // Whatever its session made of the source.
        disk::set_access(draft, Some(Ids { user: id, group: id }), SESSION_DIR.1)?;
    }
    Ok(left_out)
}

/// Each home has its share of the time, so that a large one hides no other.
fn count_homes(paths: &Paths, within: Duration) -> Outcome {
    let homes = fs::read_dir(paths.sessions()).map_err(|error| {
        WorkError::Disk(format!("cannot read {}: {error}", paths.sessions().display()))
    })?;
    let id = |entry: fs::DirEntry| Uuid::parse(entry.file_name().to_str()?).ok();
    let ids: Vec<Uuid> = homes.flatten().filter_map(id).take(SESSIONS_MAX).collect();
    let time = within / u32::try_from(ids.len()).unwrap_or(u32::MAX).max(1);
    let count = |id| (id, disk::tree_bytes(&paths.session(id), time));
    let mut counted: Vec<(Uuid, u64)> = ids.into_iter().map(count).collect();
    counted.sort_by_key(|(_, bytes)| Reverse(*bytes));
    Ok(Done::HomesCounted(counted))
}

fn measure(paths: &Paths, cgroups: &Cgroups, containers: &[(Uuid, String)]) -> Outcome {
    let found = disk::measure(&paths.sessions()).map_err(failed)?;
    let used = |(id, container): &(Uuid, String)| Some((*id, cgroups.usage(container)?.memory));
    let memory = containers.iter().filter_map(used).collect();
    Ok(Done::Measured { total_bytes: found.total_bytes, used_bytes: found.used_bytes, memory })
}

fn failed(error: DiskError) -> WorkError {
    WorkError::Disk(error.to_string())
}
