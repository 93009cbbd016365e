//! The `convocate` program: its table of commands, and how it is called.
//!
//! To add a command: write `cli/convocate/VERB.rs` with a `pub(crate) const VERB: Command` (its
//! flags, its help and the function that runs it), declare the module here, and put the constant
//! into [`PROGRAM`] where the help is to show it. [`sessions`] has what commands on sessions share.
//!
//! The program is also a login shell: it splits `-c "…"` into words and runs them as if they had
//! been given. There is no other shell behind it.

pub mod agents;
pub mod attach;
pub mod attach_terminal;
pub mod background;
pub mod clone;
pub mod completions;
pub mod demo;
pub mod diff;
pub mod edit;
pub mod egress;
pub mod enrol;
pub mod events;
pub mod exec;
pub mod install;
pub mod kill;
pub mod logs;
pub mod ls;
mod names;
pub mod new;
mod new_options;
pub mod override_lock;
pub mod profiles;
pub mod prove;
pub mod renew_certificates;
pub mod restart;
pub mod rm;
pub mod screen;
pub mod send;
pub mod session_flags;
pub mod sessions;
pub mod show;
pub mod status_serve;
pub mod wait;

use std::ffi::OsString;

use crate::cli::command::Program;
use crate::cli::convocate::agents::AGENTS;
use crate::cli::convocate::attach::ATTACH;
use crate::cli::convocate::background::BACKGROUND;
use crate::cli::convocate::clone::CLONE;
use crate::cli::convocate::demo::{AGENT_WORD, DEMO};
use crate::cli::convocate::diff::DIFF;
use crate::cli::convocate::edit::EDIT;
use crate::cli::convocate::egress::EGRESS_OF;
use crate::cli::convocate::enrol::ENROL;
use crate::cli::convocate::events::EVENTS;
use crate::cli::convocate::exec::EXEC;
use crate::cli::convocate::install::INSTALL_SHELL;
use crate::cli::convocate::kill::{KILL, STOP};
use crate::cli::convocate::logs::LOGS;
use crate::cli::convocate::ls::{LIST, LS};
use crate::cli::convocate::names::NAMES;
use crate::cli::convocate::new::NEW;
use crate::cli::convocate::override_lock::OVERRIDE;
use crate::cli::convocate::profiles::PROFILES;
use crate::cli::convocate::prove::PROVE;
use crate::cli::convocate::renew_certificates::RENEW_CERTIFICATES;
use crate::cli::convocate::restart::{RESTART, START};
use crate::cli::convocate::rm::{DELETE, RM};
use crate::cli::convocate::screen::SCREEN;
use crate::cli::convocate::send::SEND;
use crate::cli::convocate::show::SHOW;
use crate::cli::convocate::status_serve::STATUS_SERVE;
use crate::cli::convocate::wait::WAIT;
use crate::cli::host::ship_image::SEND_IMAGE;
use crate::cli::start::{VERSION, run_with_streams};
use crate::cli::{agent, shell_words};
use crate::exit::Exit;

pub(crate) static PROGRAM: Program = Program {
    name: "convocate",
    summary: "see and drive coding-agent sessions on all agents",
    commands: &[
        SCREEN,
        LS,
        LIST,
        AGENTS,
        PROFILES,
        NEW,
        ATTACH,
        SHOW,
        EDIT,
        CLONE,
        START,
        RESTART,
        BACKGROUND,
        KILL,
        STOP,
        OVERRIDE,
        RM,
        DELETE,
        SEND,
        EXEC,
        DIFF,
        EGRESS_OF,
        WAIT,
        LOGS,
        EVENTS,
        STATUS_SERVE,
        DEMO,
        INSTALL_SHELL,
        ENROL,
        PROVE,
        RENEW_CERTIFICATES,
        SEND_IMAGE,
        NAMES,
        completions::command(|parsed, out| completions::print(&PROGRAM, parsed, out)),
        VERSION,
    ],
    fallback: Some("screen"),
    groups: &[
        (
            "See",
            &["screen", "ls", "show", "diff", "egress", "logs", "agents", "profiles", "events"],
        ),
        (
            "Sessions",
            &[
                "new",
                "attach",
                "start",
                "restart",
                "background",
                "kill",
                "rm",
                "edit",
                "clone",
                "override",
            ],
        ),
        ("Drive sessions without a terminal", &["send", "exec", "wait"]),
        ("Try it", &["demo", "completions", "version"]),
        ("Set it up and serve it", &["install", "renew-certificates", "status-serve"]),
    ],
    epilogue: "\
Examples:
  convocate new web --port auto --memory 4g --attach
  convocate kill web \"parser rewrite\"
  convocate ls --json
  convocate attach web --read-only
  convocate send web \"run the tests\"

SESSION is an id, the start of one, or a name. Every command takes --help; most take
--json. $CONVOCATE_ROOT stands for --root where that is not given. The exit status is 0
on success, 1 on failure, 2 on a usage error.
",
};

/// Runs the program with the process's own words and streams.
pub fn main() -> Exit {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some((first, rest)) = words.split_first()
        && first == AGENT_WORD
    {
        return run_with_streams(&agent::PROGRAM, Ok(rest.to_vec()));
    }
    run_with_streams(&PROGRAM, called_words(words))
}

/// The words of the command line, split where sshd passes them as one.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command::Command;
    use crate::cli::output::Out;

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
            let is_many = command.operands.last().is_some_and(|last| last.is_many);
            let extras = [&["--no-such"][..], &["a", "b", "c"]];
            for extra in extras.into_iter().take(if is_many { 1 } else { 2 }) {
                let all = [&[command.name][..], extra].concat();
                let (exit, output, errors) = run(&all);
                assert_eq!((exit, output.as_str()), (Exit::Usage, ""), "{all:?}");
                assert_eq!(errors.lines().count(), 1, "{errors}");
                assert!(errors.contains(&format!("see `convocate help {}`", command.name)));
            }
        }
    }

    #[test]
    fn the_help_has_every_shown_command_in_one_part() {
        let listed: Vec<_> = PROGRAM.groups.iter().flat_map(|(_, names)| *names).collect();
        assert!(listed.iter().all(|name| PROGRAM.find(name).is_some_and(Command::is_shown)));
        let is_once = |name| listed.iter().filter(|listed| **listed == name).count() == 1;
        for command in PROGRAM.shown_commands() {
            assert!(is_once(&command.name) || command.name == "send-image", "{}", command.name);
        }
        let (_, help, _) = run(&["help"]);
        assert!(help.contains("\nSessions:\n") && !help.contains("send-image"), "{help}");
        for (word, near) in [("lst", "list"), ("atach", "attach"), ("stopp", "stop")] {
            let (_, _, errors) = run(&[word]);
            assert!(errors.contains(&format!("did you mean {near}?")), "{errors}");
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
            (&["screen", "--json"], "--json needs a SESSION"),
            (&["screen", "x", "--lines", "many"], "--lines: \"many\" must be a number"),
            (&["send", "x"], "nothing to send"),
            (&["send", "x", "a\u{1b}b"], "has the control character escape (U+001B)"),
            (&["send", "x", "--keys", "Retrun"], "key \"Retrun\" is none of"),
            (&["send", "x", "a", "--file", "b"], "TEXT or --file"),
            (&["exec", "x", "--timeout", "0", "--", "ls"], "seconds 0 must be"),
            (&["exec", "x"], "COMMAND is missing"),
            (&["wait", "x", "--for", "lunch"], "--for: \"lunch\" is none of ended"),
            (&["ls", "--root", ""], "--root needs a directory"),
            (&["new", "x", "--repo", "http://h/x"], "repo \"http://h/x\" must be like https://"),
            (&["new", "x", "--env", "PATH=/x"], "--env: env PATH is not for a profile"),
            (&["new", "x", "--profile", "a/b"], "profile \"a/b\" must be"),
            (&["edit", "x", "--env", "A=1", "--env", "A"], "env A is given twice"),
            (&["profiles", "--memory", "1g"], "--memory needs --check"),
        ] {
            let (exit, output, errors) = run(all);
            assert_eq!((exit, output.as_str()), (Exit::Usage, ""), "{all:?}: {errors}");
            assert!(errors.contains(sentence), "{errors}");
        }
    }

    #[test]
    fn completions_name_every_command_and_option() {
        for shell in ["bash", "zsh", "fish"] {
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
