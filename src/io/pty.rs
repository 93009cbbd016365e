//! A program on a terminal of ours.
//!
//! It leads a session of its own with the pty's slave as its controlling terminal, so it sees its
//! own job control and a hang-up when we close the master. We keep no copy of the slave: the end
//! of the last process that has it ends the master's reading.
//!
//! [`open_inside`] opens a terminal among those that another process sees, in a container, whose
//! programs can then open its slave by name.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, Uid, chownat, fstat, fstatfs, openat, openat2,
};
use rustix::process::geteuid;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize,
};

use super::process::{Process, Program, SpawnError};
use super::stream::{Stream, descriptor_path};

/// Our side of a terminal.
#[derive(Debug)]
pub struct Pty {
    /// What the program writes can be read here, and what is written here it reads.
    pub master: Stream,
    pub(crate) process: Process,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Its width, in cells.
    pub columns: u16,
    /// Its height, in cells.
    pub rows: u16,
}

impl Pty {
    /// Starts `program` on a new terminal of this size.
    ///
    /// # Errors
    /// [`SpawnError`], which names the program.
    pub fn spawn(program: &Program, size: Size) -> Result<Pty, SpawnError> {
        let failed = |error| program.failed(error);
        let (master, slave) = open(size).map_err(failed)?;
        // The command, and with it our copies of the slave, lives no longer than this statement.
        let process = spawn_on(&mut program.command(), slave).map_err(failed)?;
        Ok(Pty { master: Stream::from_terminal(master), process })
    }

    /// Changes the terminal's size; the program is told by SIGWINCH.
    ///
    /// # Errors
    /// Never on a terminal that is open.
    pub(crate) fn resize(&self, size: Size) -> io::Result<()> {
        resize(&self.master, size)
    }
}

/// Changes the size of the terminal whose master this is, as [`Pty::resize`].
///
/// # Errors
/// Never on a terminal that is open.
pub(crate) fn resize(master: &Stream, size: Size) -> io::Result<()> {
    Ok(tcsetwinsize(master, size.into())?)
}

impl From<Size> for Winsize {
    fn from(size: Size) -> Winsize {
        Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 }
    }
}

impl From<Winsize> for Size {
    fn from(size: Winsize) -> Size {
        Size { columns: size.ws_col, rows: size.ws_row }
    }
}

/// A master, non-blocking, and its slave.
pub(super) fn open(size: Size) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    tcsetwinsize(&master, size.into())?;
    rustix::io::ioctl_fionbio(master.as_fd(), true)?;
    Ok((master, slave))
}

/// The kind of file system that only terminals are in (`DEVPTS_SUPER_MAGIC`).
const TERMINALS_MAGIC: u64 = 0x1cd1;

/// A new terminal among those that process `pid` sees in its `/dev/pts`, and the slave's name
/// there. It echoes nothing. Its end is seen on the master once somebody had the slave open.
///
/// The slave is given to `owner`, or stays this process's user's.
///
/// That process need not be trusted, and its number may be another's by now: nothing but a new
/// terminal is opened, wherever its paths lead.
///
/// # Errors
/// There is no such process, it is none of ours, or it has no terminals of its own.
pub(crate) fn open_inside(
    pid: u32,
    size: Size,
    owner: Option<u32>,
) -> io::Result<(Stream, String)> {
    let path = OFlags::PATH | OFlags::CLOEXEC;
    let root = openat(CWD, format!("/proc/{pid}/root"), path | OFlags::DIRECTORY, Mode::empty())?;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let place = openat2(&root, "dev/pts/ptmx", path, Mode::empty(), inside)?;
    if u64::try_from(fstatfs(&place)?.f_type) != Ok(TERMINALS_MAGIC) {
        return Err(io::Error::other("/dev/pts has other things than terminals in it"));
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let master = openat(CWD, descriptor_path(&place), flags, Mode::empty())?;
    unlockpt(&master)?;
    tcsetwinsize(&master, size.into())?;
    let mut modes = tcgetattr(&master)?;
    modes.input_modes -= InputModes::ICRNL;
    modes.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
    tcsetattr(&master, OptionalActions::Now, &modes)?;
    let name = ptsname(&master, Vec::new())?;
    let name = name.into_string().map_err(io::Error::other)?;
    if let Some(owner) = owner {
        let slave = openat2(&root, name.trim_start_matches('/'), path, Mode::empty(), inside)?;
        give_slave(&slave, owner)?;
    }
    Ok((Stream::from_terminal(master), name))
}

/// Gives a terminal of ours to somebody. It is not opened: its last closing would end the master.
fn give_slave(slave: &OwnedFd, owner: u32) -> io::Result<()> {
    let is_ours = fstat(slave)?.st_uid == geteuid().as_raw();
    if u64::try_from(fstatfs(slave)?.f_type) != Ok(TERMINALS_MAGIC) || !is_ours {
        return Err(io::Error::other("/dev/pts has other things than our terminal in it"));
    }
    Ok(chownat(slave, c"", Some(Uid::from_raw(owner)), None, AtFlags::EMPTY_PATH)?)
}

fn spawn_on(command: &mut Command, slave: OwnedFd) -> io::Result<Process> {
    command.stdin(Stdio::from(slave.try_clone()?)).stdout(Stdio::from(slave.try_clone()?));
    command.stderr(Stdio::from(slave));
    #[expect(unsafe_code, reason = "a controlling terminal can be had only inside the child")]
    // SAFETY: between fork and exec, and setsid and ioctl are async-signal-safe and allocate
    // nothing; descriptor 0 is the slave by then.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
            Ok(())
        });
    }
    Process::spawn_leader(command)
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::process::Signal;

    use super::super::process::Exit;
    use super::super::stream::Moved;
    use super::*;

    const SIZE: Size = Size { columns: 91, rows: 27 };

    fn shell(script: &str) -> Pty {
        Pty::spawn(&Program::new("sh", ["-c", script]), SIZE).unwrap()
    }

    /// Reads until `wanted` has come, or up to the end.
    fn read_until(pty: &Pty, wanted: &str) -> String {
        let mut text = String::new();
        while !text.contains(wanted) {
            assert_eq!(poll(&mut [PollFd::new(&pty.master, PollFlags::IN)], None), Ok(1));
            let mut space = [0; 1000];
            match pty.master.read(&mut space) {
                Moved::Bytes(count) => text.push_str(&String::from_utf8_lossy(&space[..count])),
                Moved::Blocked => {}
                Moved::Closed => break,
                Moved::Failed(error) => panic!("{error}"),
            }
        }
        text
    }

    #[test]
    fn the_program_has_a_terminal_of_that_size_and_its_end_is_an_end() {
        let mut pty = shell("stty size </dev/tty; test -t 0 && echo terminal");
        let text = read_until(&pty, "never said");
        assert_eq!(text, "27 91\r\nterminal\r\n");
        assert_eq!(poll(&mut [PollFd::new(&pty.process, PollFlags::IN)], None), Ok(1));
        assert_eq!(pty.process.try_exit().unwrap(), Some(Exit::Code(0)));
    }

    #[test]
    fn a_terminal_is_opened_among_those_of_a_process() {
        let (master, name) = open_inside(std::process::id(), SIZE, None).unwrap();
        let mut child = Command::new("sh");
        let script = format!("stty size <{name}; stty -a <{name} | grep -c -- '-icanon'");
        let said = child.args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stdout), "27 91\n1\n");
        let slave = std::fs::OpenOptions::new().write(true).read(true).open(&name).unwrap();
        io::Write::write_all(&mut &slave, b"shown").unwrap();
        let mut space = [0; 100];
        assert_eq!(poll(&mut [PollFd::new(&master, PollFlags::IN)], None), Ok(1));
        assert!(matches!(master.read(&mut space), Moved::Bytes(5)));
        drop(slave);
        assert_eq!(poll(&mut [PollFd::new(&master, PollFlags::IN)], None), Ok(1));
        assert!(matches!(master.read(&mut space), Moved::Closed));
    }

    #[test]
    fn no_terminal_is_opened_for_what_is_no_process() {
        let error = open_inside(u32::MAX, SIZE, None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_resize_is_told_to_the_program() {
        let pty = shell("trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.01; done");
        read_until(&pty, "ready");
        pty.resize(Size { columns: 40, rows: 10 }).unwrap();
        assert!(read_until(&pty, "10 40").contains("10 40"));
    }

    #[test]
    fn keys_reach_the_program_and_ctrl_c_its_group() {
        let mut pty = shell("read line; echo \"got $line\"; exec sleep 1000");
        assert!(matches!(pty.master.write(b"hello\n"), Moved::Bytes(6)));
        assert!(read_until(&pty, "got hello").contains("got hello"));
        assert!(matches!(pty.master.write(b"\x03"), Moved::Bytes(1)));
        assert_eq!(poll(&mut [PollFd::new(&pty.process, PollFlags::IN)], None), Ok(1));
        let exit = pty.process.try_exit().unwrap();
        assert_eq!(exit, Some(Exit::Signal(Signal::INT.as_raw())));
    }

    #[test]
    fn a_signal_that_we_block_is_not_blocked_in_the_child() {
        let _held = super::super::signals::Signals::block().unwrap();
        let mut pty = shell("kill -TERM $$; echo survived");
        assert_eq!(read_until(&pty, "survived"), "");
        assert_eq!(poll(&mut [PollFd::new(&pty.process, PollFlags::IN)], None), Ok(1));
        assert_eq!(pty.process.try_exit().unwrap(), Some(Exit::Signal(15)));
    }
}
