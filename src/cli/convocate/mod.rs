//! The `convocate` program: its table of commands, and how it is called.
//!
//! It is also a login shell: `-c "…"` is split into words and run as if they had been given. There
//! is no other shell behind it.

pub mod attach;
pub mod attach_terminal;
pub mod completions;
pub mod demo;
pub mod enrol;
pub mod events;
pub mod install;
pub mod ls;
pub mod new;
pub mod renew_certificates;
pub mod session;
pub mod session_flags;
pub mod sessions;
pub mod status_serve;
pub mod views;

use std::ffi::OsString;

use crate::cli::command::{Command, Operand, Parsed, Program};
use crate::cli::convocate::completions::{SHELLS, Shell, script};
use crate::cli::convocate::enrol::{ENROL, PROVE};
use crate::cli::convocate::events::EVENTS;
use crate::cli::convocate::install::INSTALL_SHELL;
use crate::cli::convocate::renew_certificates::RENEW_CERTIFICATES;
use crate::cli::convocate::session_flags::*;
use crate::cli::convocate::status_serve::STATUS_SERVE;
use crate::cli::host::ship_image::SEND_IMAGE;
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT};
use crate::cli::start::{VERSION, run_with_streams};
use crate::cli::{agent, screen, shell_words};
use crate::exit::Exit;

const SHELL: Operand = Operand { name: "SHELL", is_optional: false, choices: &SHELLS };

pub(crate) static PROGRAM: Program = Program {
    name: "convocate",
    summary: "see and drive coding-agent sessions on all agents",
    commands: &[
        Command {
            name: "screen",
            summary: "the screen over all agents; without any command, too",
            operands: &[],
            flags: &[ROOT],
            help: "\
Sees and drives all sessions. ? shows the keys, Q leaves, and sessions run on. As a
login shell, convocate shows it to whoever logs in with a terminal. NO_COLOR takes
the colours away. Changes show by themselves: from the hub of this host where one
runs, else agents are asked every few seconds.
",
            run: screen::screen,
        },
        Command {
            name: "ls",
            summary: "list the sessions of all agents, newest access first",
            operands: &[],
            flags: &[AGENT, JSON, ROOT],
            help: "\
The first column is the state: - stopped, L locked by an operation that was cut
short, R running, C running with a terminal attached, O a directory on this host
that no agent owns, ? cannot be asked now. Agents that do not answer are named on
standard error; where a status hub runs, their last news are shown, with their age.
The status is 0 if at least one agent has answered.
",
            run: ls::sessions,
        },
        Command {
            name: "agents",
            summary: "list the agents and how they answer",
            operands: &[],
            flags: &[JSON, ROOT],
            help: "\
EVENTS says whether an agent's events come, and if not, when it was last heard of; it
is empty where no status hub runs. ANSWER is how long an agent took, or why there is
no answer. An agent that the hub has lost is not waited for.
",
            run: ls::agents,
        },
        Command {
            name: "new",
            summary: "create a session",
            operands: &[NEW_NAME],
            flags: &[
                AGENT, PORT, PROTO, DNS, COMMAND, DOCKER, MEMORY, CPUS, PIDS, ATTACH, JSON, ROOT,
            ],
            help: "\
Makes the session's home; nothing runs until it is attached or restarted. --agent
may be left out when there is one agent. Prints the new session's id.
",
            run: new::new,
        },
        Command {
            name: "attach",
            summary: "attach this terminal to a session, and start it if it is stopped",
            operands: &[SESSION],
            flags: &[READ_ONLY, AGENT, ROOT],
            help: "\
Detach as in tmux: Ctrl-B d, unless the session's tmux says otherwise. A lost
connection is dialled again by itself; the session is not harmed by it. The status
is 0 after detaching or when the session has ended, 254 if the connection was lost
and could not be had back, 255 if there never was a terminal.
",
            run: attach::attach,
        },
        Command {
            name: "show",
            summary: "show all there is to know about a session",
            operands: &[SESSION],
            flags: &[AGENT, JSON, ROOT],
            help: SESSION_HELP,
            run: session::show,
        },
        Command {
            name: "edit",
            summary: "change a session's settings",
            operands: &[SESSION],
            flags: &[
                NAME, PORT, PROTO, DNS, COMMAND, DOCKER, MEMORY, CPUS, PIDS, AGENT, JSON, ROOT,
            ],
            help: "\
What is not named keeps its value; --dns '' removes the DNS name. A running session
keeps its old settings until it is restarted.
",
            run: session::edit,
        },
        Command {
            name: "clone",
            summary: "copy a session's home under a new id and name, on the same agent",
            operands: &[SESSION, NEW_NAME],
            flags: &[AGENT, JSON, ROOT],
            help: "The copy is stopped and has no port and no DNS name.\n",
            run: new::clone,
        },
        Command {
            name: "restart",
            summary: "start a stopped session, detached",
            operands: &[SESSION],
            flags: &[AGENT, JSON, ROOT],
            help: SESSION_HELP,
            run: session::restart,
        },
        Command {
            name: "background",
            summary: "detach every terminal of a session and leave it running",
            operands: &[SESSION],
            flags: &[AGENT, JSON, ROOT],
            help: SESSION_HELP,
            run: session::background,
        },
        Command {
            name: "kill",
            summary: "stop a session and keep its home",
            operands: &[SESSION],
            flags: &[AGENT, JSON, ROOT],
            help: SESSION_HELP,
            run: session::kill,
        },
        Command {
            name: "override",
            summary: "clear the lock that a dead agent has left on a session",
            operands: &[SESSION],
            flags: &[AGENT, JSON, ROOT],
            help: SESSION_HELP,
            run: session::clear_lock,
        },
        Command {
            name: "rm",
            summary: "stop a session and remove everything of it",
            operands: &[SESSION],
            flags: &[AGENT, JSON, ROOT],
            help: "\
It does not ask. SESSION must be the whole id, or the whole name when every agent
has answered and no other session has it.
",
            run: session::remove,
        },
        EVENTS,
        STATUS_SERVE,
        Command {
            name: "demo",
            summary: "try it out: a whole cluster on this machine, for you alone",
            operands: &[],
            flags: &[demo::SCRIPT, demo::RUNTIME],
            help: "\
Starts an agent on a free port of loopback, with fresh keys below a private directory,
creates a session and shows the screen with it. Needs no root. Sessions run in
Docker if an engine answers and the session image is there, else in tmux on this
machine, without containers. Leaving takes everything down.
",
            run: demo::demo,
        },
        INSTALL_SHELL,
        ENROL,
        PROVE,
        RENEW_CERTIFICATES,
        SEND_IMAGE,
        Command {
            name: "completions",
            summary: "print the completions for a shell",
            operands: &[SHELL],
            flags: &[],
            help: "\
bash: put them where bash-completion looks, or source them.
zsh:  put them into a directory of $fpath, as _convocate.
fish: put them into ~/.config/fish/completions/convocate.fish.
",
            run: completions,
        },
        VERSION,
    ],
    fallback: Some("screen"),
    epilogue: "\
SESSION is an id, the start of one, or a name. Every command takes --help; most take
--json. The status is 0 done, 1 failed, 2 not understood.
",
};

/// Runs the program with the process's own words and streams.
pub fn main() -> Exit {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some((first, rest)) = words.split_first()
        && first == demo::AGENT_WORD
    {
        return run_with_streams(&agent::PROGRAM, Ok(rest.to_vec()));
    }
    run_with_streams(&PROGRAM, called_words(words))
}

/// The words that are meant, whether they stand as they are or in one as sshd hands them over.
fn called_words(words: Vec<OsString>) -> Result<Vec<OsString>, String> {
    match words.first().map(|first| first.to_string_lossy()).as_deref() {
        Some("-c") => {}
        _ => return Ok(words),
    }
    let line = words.get(1).ok_or("-c needs a command line")?;
    let line = line.to_str().ok_or("the command line is not UTF-8")?;
    let mut split = shell_words::split(line).map_err(|error| error.to_string())?;
    // `ssh host convocate ls` says the name again.
    if split.first().is_some_and(|first| first.rsplit('/').next() == Some(PROGRAM.name)) {
        split.remove(0);
    }
    Ok(split.into_iter().map(OsString::from).collect())
}

fn completions(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let name = parsed.required(0);
    let shell = Shell::parse(name)
        .ok_or_else(|| Failure::Usage(format!("{name:?} is none of {}", SHELLS.join(", "))))?;
    out.text(&script(&PROGRAM, shell))?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(all: &[&str]) -> Vec<OsString> {
        all.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_login_shell_hands_one_line_over() {
        for (called, meant) in [
            (&["ls", "--json"][..], Ok(words(&["ls", "--json"]))),
            (&["-c", "ls --json"], Ok(words(&["ls", "--json"]))),
            (&["-c", "convocate ls"], Ok(words(&["ls"]))),
            (&["-c", "/usr/local/bin/convocate new 'a b'"], Ok(words(&["new", "a b"]))),
            (&["-c", ""], Ok(Vec::new())),
            (&["-c"], Err("-c needs a command line".to_owned())),
            (&["-c", "ls '"], Err("the quote ' is not closed".to_owned())),
        ] {
            assert_eq!(called_words(words(called)), meant, "{called:?}");
        }
    }

    fn run(all: &[&str]) -> (Exit, String, String) {
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let exit = PROGRAM.run(words(all), &mut Out::new(&mut output, &mut errors, None));
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (exit, text(output), text(errors))
    }

    #[test]
    fn nothing_gives_a_shell() {
        for line in ["sh", "/bin/sh", "/usr/lib/openssh/sftp-server", "scp -t x", "; id", "$(id)"] {
            let split = called_words(words(&["-c", line])).expect("words");
            let (mut output, mut errors) = (Vec::new(), Vec::new());
            let exit = PROGRAM.run(split, &mut Out::new(&mut output, &mut errors, None));
            assert_eq!((exit, output.len()), (Exit::Usage, 0), "{line}");
        }
    }

    #[test]
    fn every_command_has_its_help() {
        for command in PROGRAM.commands {
            let (exit, help, errors) = run(&["help", command.name]);
            assert_eq!((exit, errors.as_str()), (Exit::Done, ""));
            assert!(help.starts_with(&format!("Usage: convocate {}", command.name)));
            assert!(command.shown_flags().all(|flag| help.contains(&format!("--{}", flag.name))));
            assert!(!help.contains("--request"), "{help}");
            for extra in [&["--no-such"][..], &["a", "b", "c"]] {
                let all = [&[command.name][..], extra].concat();
                let (exit, output, errors) = run(&all);
                assert_eq!((exit, output.as_str()), (Exit::Usage, ""), "{all:?}");
                assert_eq!(errors.lines().count(), 1, "{errors}");
                assert!(errors.contains(&format!("see `convocate help {}`", command.name)));
            }
        }
    }

    #[test]
    fn wrong_values_are_found_before_anybody_is_asked() {
        for (all, sentence) in [
            (&["new", "a\nb"][..], "name \"a\\nb\" must be"),
            (&["new", "x", "--port", "70000"], "port \"70000\" must be 1 to 65535"),
            (&["new", "x", "--proto", "sctp"], "protocol \"sctp\" must be tcp or udp"),
            (&["new", "x", "--dns", "A.B"], "dns name \"A.B\" must be"),
            (&["new", "x", "--memory", "1x"], "memory \"1x\" must be a size"),
            (&["new", "x", "--cpus", "-1"], "cpus \"-1\" must be a number"),
            (&["new", "x", "--docker", "maybe"], "--docker: \"maybe\" must be yes or no"),
            (&["edit", "x"], "nothing to change is named"),
            (&["clone", "x", ""], "name must not be empty"),
            (&["completions", "tcsh"], "is none of bash, zsh, fish"),
            (&["ls", "--root", ""], "--root needs a directory"),
        ] {
            let (exit, output, errors) = run(all);
            assert_eq!((exit, output.as_str()), (Exit::Usage, ""), "{all:?}: {errors}");
            assert!(errors.contains(sentence), "{errors}");
        }
    }

    #[test]
    fn completions_name_every_command_and_option() {
        for shell in SHELLS {
            let (exit, text, _) = run(&["completions", shell]);
            assert_eq!(exit, Exit::Done);
            for command in PROGRAM.shown_commands() {
                assert!(text.contains(command.name), "{shell} {}", command.name);
                assert!(command.shown_flags().all(|flag| text.contains(flag.name)), "{shell}");
            }
            assert!(!text.contains("enrol") && !text.contains("request"), "{shell}: {text}");
        }
    }

    #[test]
    fn without_agents_it_says_what_to_run() {
        let root = std::env::temp_dir().join(format!("convocate-no-agents-{}", std::process::id()));
        let root = root.to_str().expect("text").to_owned();
        let (exit, _, errors) = run(&["ls", "--root", &root]);
        assert_eq!(exit, Exit::Done);
        assert!(errors.contains("convocate-host init-agent"), "{errors}");
        let (exit, _, errors) = run(&["show", "x", "--root", &root]);
        assert_eq!(exit, Exit::Failed);
        assert!(errors.contains("convocate-host init-agent"), "{errors}");
    }
}
