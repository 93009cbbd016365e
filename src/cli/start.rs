//! How each program starts, and the command `version` that each has.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};

use crate::cli::command::{Command, Parsed, Program};
use crate::cli::output::{Failure, Out};
use crate::exit::Exit;
use crate::io::tty::Tty;

/// Runs a program with the process's own streams.
pub(crate) fn run_with_streams(program: &Program, words: Result<Vec<OsString>, String>) -> Exit {
    let output = std::io::stdout();
    let width = if output.is_terminal() { terminal_width() } else { None };
    let mut output = std::io::BufWriter::new(output.lock());
    let mut errors = std::io::stderr();
    match words {
        Ok(words) => program.run(words, &mut Out::new(&mut output, &mut errors, width)),
        Err(text) => {
            let _ = writeln!(errors, "{}: {text}", program.name);
            Exit::Usage
        }
    }
}

fn terminal_width() -> Option<usize> {
    const WIDTH_UNKNOWN: usize = 80;
    let size = Tty::open().and_then(|tty| tty.size());
    let cols = size.map_or(0, |size| usize::from(size.columns));
    Some(if cols == 0 { WIDTH_UNKNOWN } else { cols })
}

/// `version`, the same in every program.
pub(crate) const VERSION: Command = Command {
    name: "version",
    summary: "print the version",
    operands: &[],
    flags: &[],
    help: "",
    run: version,
};

fn version(_parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let program = std::env::args_os().next();
    let name = program.as_deref().map(std::path::Path::new).and_then(|path| path.file_name());
    let name = name.map_or_else(|| "convocate".into(), |name| name.to_string_lossy());
    out.text(&format!("{} version v{}", name.trim_start_matches('-'), env!("CARGO_PKG_VERSION")))?;
    Ok(Exit::Done)
}
