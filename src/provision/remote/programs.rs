//! The programs that are brought to hosts: files beside this program, or where the operator says.

use std::env;
use std::path::{Path, PathBuf};

use crate::io::disk::{self, DiskError, Links};
use crate::limits::PROVISION_FILE_BYTES_MAX;

/// Where they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Programs {
    /// Beside this program if none.
    directory: Option<PathBuf>,
}

impl Programs {
    /// In this directory; beside this program if none.
    pub(crate) fn of(directory: Option<&str>) -> Programs {
        Programs { directory: directory.map(PathBuf::from) }
    }

    /// The file of a program for this machine.
    pub(crate) fn path(&self, name: &str) -> Result<PathBuf, String> {
        let path = self.place(name)?;
        match path.is_file() {
            true => Ok(path),
            false => {
                Err(format!("{} is not there; say where it is with --bin DIR", path.display()))
            }
        }
    }

    /// A program for a processor, as `uname -m` names it: the file of that name, or the one beside
    /// it that has the processor in its name.
    pub(crate) fn read(&self, name: &str, machine: &str) -> Result<Vec<u8>, String> {
        let is_own_machine = machine == env::consts::ARCH;
        let path = match is_own_machine {
            true if self.directory.is_none() && name == "convocate-host" => {
                return own_program().map_err(|error| error.to_string());
            }
            true => self.place(name)?,
            false => self.place(&format!("{name}.{machine}"))?,
        };
        disk::read_bounded(&path, PROVISION_FILE_BYTES_MAX, Links::Follow).map_err(|error| {
            format!(
                "the host is of kind {machine}, and {name} for it is expected as {} (--bin DIR \
                 says where else): {error}",
                path.display()
            )
        })
    }

    fn place(&self, name: &str) -> Result<PathBuf, String> {
        match &self.directory {
            Some(directory) => Ok(directory.join(name)),
            None => Ok(env::current_exe().map_err(|error| error.to_string())?.with_file_name(name)),
        }
    }
}

/// The file that this process runs, wherever it lies and whatever has replaced it since.
pub(crate) fn own_program() -> Result<Vec<u8>, DiskError> {
    let path = Path::new("/proc/self/exe");
    disk::read_bounded(path, PROVISION_FILE_BYTES_MAX, Links::Follow)
}
