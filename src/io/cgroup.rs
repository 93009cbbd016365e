//! What a container uses, read from its control group (cgroups(7)), without asking the Engine.
//!
//! A figure that cannot be read is none: which hierarchies there are and where the Engine puts a
//! container is this machine's choice. Both versions of cgroups are read, and both of the Engine's
//! drivers, `systemd` and `cgroupfs`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::limits::CGROUP_FILE_BYTES_MAX;

/// What a container has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Time on processors since it started.
    pub cpu: Duration,
    /// Memory that it has now, without what the kernel would take back at once, in bytes.
    pub memory: u64,
}

/// Where the containers of one Engine are accounted for.
#[derive(Clone, Debug)]
pub struct Cgroups {
    /// Where the hierarchies are mounted.
    root: PathBuf,
    /// Where a container's group may be, below a hierarchy.
    parents: Vec<PathBuf>,
}

impl Cgroups {
    /// Below `root`, which is `/sys/fs/cgroup`, for containers that were made with this
    /// `CgroupParent`, or without one.
    pub fn new(root: PathBuf, parent: Option<&str>) -> Cgroups {
        let parents = match parent {
            Some(parent) => vec![slice_path(parent), PathBuf::from(parent)],
            None => vec![PathBuf::from("system.slice"), PathBuf::from("docker")],
        };
        Cgroups { root, parents }
    }

    /// What the container of this id has used. `None` if its group is not found.
    pub fn usage(&self, container: &str) -> Option<Usage> {
        self.groups(container).find_map(|group| self.usage_of(&group))
    }

    /// The processes of the container, by their numbers here, at most so many. `None` if its group
    /// is not found.
    pub(crate) fn processes(&self, container: &str, count_max: usize) -> Option<Vec<u32>> {
        let text = self.groups(container).find_map(|group| {
            let unified = read(&self.root.join(&group).join("cgroup.procs"));
            unified.or_else(|| read(&self.root.join("cpuacct").join(&group).join("cgroup.procs")))
        })?;
        Some(text.lines().filter_map(|line| line.parse().ok()).take(count_max).collect())
    }

    /// Where the group of a container may be.
    fn groups(&self, container: &str) -> impl Iterator<Item = PathBuf> {
        // The id goes into a path: it must be no more than a name.
        let is_name = |it: &&str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_alphanumeric());
        let names = Some(container)
            .filter(is_name)
            .map(|container| [format!("docker-{container}.scope"), container.to_owned()]);
        names
            .into_iter()
            .flatten()
            .flat_map(|name| self.parents.iter().map(move |parent| parent.join(&name)))
    }

    fn usage_of(&self, group: &Path) -> Option<Usage> {
        let unified = self.root.join(group);
        if let Some(stat) = read(&unified.join("cpu.stat")) {
            return Some(Usage {
                cpu: Duration::from_micros(field(&stat, "usage_usec")?),
                memory: memory(&unified, "memory.current", "inactive_file")?,
            });
        }
        let cpu = read(&self.root.join("cpuacct").join(group).join("cpuacct.usage"))?;
        Some(Usage {
            cpu: Duration::from_nanos(cpu.trim().parse().ok()?),
            memory: memory(
                &self.root.join("memory").join(group),
                "memory.usage_in_bytes",
                "total_inactive_file",
            )?,
        })
    }
}

/// `a-b.slice` is a group inside of `a.slice` (systemd.slice(5)).
fn slice_path(slice: &str) -> PathBuf {
    let mut path = PathBuf::new();
    if let Some(name) = slice.strip_suffix(".slice") {
        for (at, _) in name.match_indices('-') {
            path.push(format!("{}.slice", &name[..at]));
        }
    }
    path.join(slice)
}

/// Memory in use, as the Engine itself counts it: without files that are not used.
fn memory(group: &Path, all: &str, idle: &str) -> Option<u64> {
    let all: u64 = read(&group.join(all))?.trim().parse().ok()?;
    let idle = field(&read(&group.join("memory.stat"))?, idle)?;
    Some(all.saturating_sub(idle))
}

/// The number behind a name, in a file of such lines.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(CGROUP_FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::scratch::Scratch;
    use super::*;

    fn write(scratch: &Scratch, path: &str, text: &str) {
        let path = scratch.path().join(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("directories");
        fs::write(path, text).expect("a file");
    }

    #[test]
    fn both_versions_and_both_drivers() {
        let scratch = Scratch::new();
        let usage = Some(Usage { cpu: Duration::from_micros(1_500_000), memory: 700 });
        for (parent, group) in [
            (
                Some("convocate-sessions.slice"),
                "convocate.slice/convocate-sessions.slice/docker-c1.scope",
            ),
            (None, "system.slice/docker-c2.scope"),
            (None, "docker/c3"),
        ] {
            let id =
                group.rsplit(['/', '-']).next().expect("a last part").trim_end_matches(".scope");
            let two = format!("two/{group}");
            write(&scratch, &format!("{two}/cpu.stat"), "usage_usec 1500000\nuser_usec 1\n");
            write(&scratch, &format!("{two}/memory.current"), "1000\n");
            write(&scratch, &format!("{two}/cgroup.procs"), "7\n8\n9\n");
            write(&scratch, &format!("one/cpuacct/{group}/cgroup.procs"), "7\n8\n9\n");
            write(&scratch, &format!("{two}/memory.stat"), "anon 4\ninactive_file 300\n");
            let cpu = format!("one/cpuacct/{group}/cpuacct.usage");
            write(&scratch, &cpu, "1500000000\n");
            let memory = format!("one/memory/{group}");
            write(&scratch, &format!("{memory}/memory.usage_in_bytes"), "1000\n");
            let stat = "inactive_file 1\ntotal_inactive_file 300\n";
            write(&scratch, &format!("{memory}/memory.stat"), stat);
            for version in ["one", "two"] {
                let cgroups = Cgroups::new(scratch.path().join(version), parent);
                assert_eq!(cgroups.usage(id), usage, "{version} {group}");
                assert_eq!(cgroups.processes(id, 2), Some(vec![7, 8]), "{version} {group}");
            }
        }
        let cgroups = Cgroups::new(scratch.path().join("one"), None);
        for none in ["c1", "c9", "", "../c3", "c3/"] {
            assert_eq!(cgroups.usage(none), None, "{none}");
        }
    }
}
