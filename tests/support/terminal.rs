//! A terminal with a person in front of it: a program in a tmux of the test's own, keys that are
//! typed into it, and the screen as it looks afterwards.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::process::{Finished, command, run};
use super::root::Root;
use super::wait::{PATIENCE, poll};

/// Runs a program and writes down how it ended: tmux itself sometimes loses that. Keys that
/// interrupt are for the program alone. The terminal outlives it: when its last process ends, tmux
/// scrolls the screen by a line to say so.
const KEEP_STATUS: &str = r#"trap : INT QUIT; "$@"; echo $? >"$0"; exec sleep infinity"#;

/// One program on one terminal. Dropping it ends both.
#[derive(Debug)]
pub struct Terminal<'a> {
    root: &'a Root,
    socket: PathBuf,
}

impl<'a> Terminal<'a> {
    /// Starts `program` on a terminal of this size. The terminal stays when the program ends, so
    /// its last screen and its exit status can be looked at.
    pub fn start(
        root: &'a Root,
        name: &str,
        (cols, rows): (u16, u16),
        program: &Command,
    ) -> Terminal<'a> {
        let dir = root.tmux_dir().join("terminals");
        std::fs::create_dir_all(&dir).expect("the root is ours");
        // A tmux that was told to end still answers at its socket for a moment.
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let count = STARTED.fetch_add(1, Ordering::Relaxed);
        let terminal = Terminal { root, socket: dir.join(format!("{name}-{count}")) };
        let mut call = terminal.tmux(&["new-session", "-d"]);
        call.args(["-x", &cols.to_string(), "-y", &rows.to_string()]);
        call.args(["--", "sh", "-c", KEEP_STATUS]).arg(terminal.status_file());
        call.arg(program.get_program()).args(program.get_args());
        call.args([";", "set-option", "-g", "status", "off"]);
        call.args([";", "resize-window", "-x", &cols.to_string(), "-y", &rows.to_string()]);
        run(&mut call, b"", PATIENCE).expect_done();
        terminal
    }

    /// Types text as it is.
    pub fn type_text(&self, text: &str) {
        self.call(&["send-keys", "-l", "--", text]);
    }

    /// Presses a key by tmux's name for it: `Enter`, `C-c`, `Up`.
    pub fn press(&self, key: &str) {
        self.call(&["send-keys", "--", key]);
    }

    /// Gives the terminal another size.
    pub fn resize(&self, cols: u16, rows: u16) {
        self.call(&["resize-window", "-x", &cols.to_string(), "-y", &rows.to_string()]);
    }

    /// What stands on the screen, trailing blanks cut.
    pub fn screen(&self) -> String {
        self.call(&["capture-pane", "-p"]).out()
    }

    /// The screen and what has scrolled off it.
    pub fn history(&self) -> String {
        self.call(&["capture-pane", "-p", "-S", "-"]).out()
    }

    /// The screen with the sequences that colour it.
    pub fn escapes(&self) -> String {
        self.call(&["capture-pane", "-p", "-e"]).out()
    }

    /// What tmux tells about the terminal: `#{alternate_on}`.
    pub fn tells(&self, format: &str) -> String {
        self.call(&["display-message", "-p", format]).out().trim_end().to_owned()
    }

    /// Waits until `part` stands on the screen.
    ///
    /// # Panics
    ///
    /// With the screen, if it never does.
    #[track_caller]
    pub fn wait_for(&self, part: &str) {
        let seen = poll(PATIENCE, || self.screen().contains(part).then_some(()));
        assert!(seen.is_some(), "{part:?} is not on the screen:\n{}", self.screen());
    }

    /// Waits for the program's end and gives its exit status; 128 and more after a signal.
    ///
    /// # Panics
    ///
    /// With the screen, if it runs on.
    #[track_caller]
    pub fn exit_status(&self) -> i32 {
        let status = poll(PATIENCE, || {
            std::fs::read_to_string(self.status_file()).ok()?.trim_end().parse().ok()
        });
        status.unwrap_or_else(|| panic!("the program runs on:\n{}", self.screen()))
    }

    fn status_file(&self) -> PathBuf {
        self.socket.with_added_extension("status")
    }

    fn call(&self, arguments: &[&str]) -> Finished {
        run(&mut self.tmux(arguments), b"", Duration::from_secs(10)).expect_done()
    }

    fn tmux(&self, arguments: &[&str]) -> Command {
        let mut call = command(self.root, "tmux");
        call.arg("-f").arg("/dev/null").arg("-S").arg(&self.socket).args(arguments);
        call
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        let _gone = run(&mut self.tmux(&["kill-server"]), b"", Duration::from_secs(10));
    }
}
