//! `convocate diff`: what a session has changed in its repository since it began.

use crate::cli::command::{Command, Parsed};
use crate::cli::convocate::exec::{RAW, in_session};
use crate::cli::convocate::session_flags::{AGENT, SESSION};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT};
use crate::exit::Exit;
use crate::rpc::drive::{ExecCommand, ExecSeconds};
use crate::rpc::session::Session;

pub(crate) const DIFF: Command = Command {
    name: "diff",
    summary: "show what a session has changed in its repository",
    operands: &[SESSION],
    flags: &[RAW, AGENT, JSON, ROOT],
    help: "\
Shows, as git diff does, what differs from the commit at which the session began: what is
committed since, and what is not. Standard error names files that git does not follow.
The session must run and have a --repo. The first MiB is shown. It is the session itself
that answers, with its own git: where you do not trust it, look at what it pushes.
",
    run: diff,
};

/// The session's own git runs with the session's configuration, as its user.
const SCRIPT: &str = r#"cd "$1" && git --no-pager diff --no-ext-diff --no-textconv \
    refs/convocate/begin && git ls-files --others --exclude-standard | \
    sed 's/^/not followed: /' >&2"#;

fn diff(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    in_session(parsed, out, ExecSeconds::default(), |session: &Session| {
        let repo = session.startup.as_ref().and_then(|startup| startup.repo.as_ref());
        let Some(repo) = repo else {
            let text = format!("session {:?} was made without a --repo", session.name);
            return Err(Failure::Failed(text));
        };
        let words = ["sh", "-c", SCRIPT, "diff", repo.directory()].map(str::to_owned);
        ExecCommand::new(words.to_vec()).map_err(|error| Failure::Failed(error.to_string()))
    })
}
