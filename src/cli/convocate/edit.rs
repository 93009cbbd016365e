//! `convocate edit`: changes a session's settings.

use crate::base::uuid::Uuid;
use crate::cli::command::{Command, Parsed};
use crate::cli::convocate::session_flags::{
    AGENT, ALLOW, CHANGED_ENV, CLAUDE_LOGIN, COMMAND, CPUS, DENY, DNS, DOCKER, DROP_RULE, EGRESS,
    MEMORY, NAME, PIDS, PORT, PROMPT, PROTO, PUBLISH, SESSION, SSH_KEY,
};
use crate::cli::convocate::sessions::{
    ask_with_fields, choose_session, open_fleet, parse_session, print_session,
};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT, read_flag};
use crate::exit::Exit;
use crate::fleet::select::{Care, Selected};
use crate::rpc::call::{Call, Edit, PromptChoice};
use crate::rpc::egress::EgressChange;
use crate::rpc::env::EnvChange;
use crate::rpc::{predecessor, values};

pub(crate) const EDIT: Command = Command {
    name: "edit",
    summary: "change a session's settings",
    operands: &[SESSION],
    flags: &[
        NAME,
        PORT,
        PROTO,
        PUBLISH,
        DNS,
        EGRESS,
        ALLOW,
        DENY,
        DROP_RULE,
        SSH_KEY,
        CLAUDE_LOGIN,
        COMMAND,
        PROMPT,
        CHANGED_ENV,
        DOCKER,
        MEMORY,
        CPUS,
        PIDS,
        AGENT,
        JSON,
        ROOT,
    ],
    help: "\
Settings without an option keep their value; --dns '' removes the DNS name, --prompt ''
the prompt, --env NAME a variable. A running session keeps its old settings until it is
restarted; its old key it loses at once. A new prompt is given at the next start.

What a session with egress list reaches changes at once: --allow and --deny add a name or
a set, --drop-rule takes one away; connections that are no longer allowed are closed.
",
    run: edit,
};

fn edit(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let flags = [&NAME, &PORT, &PROTO, &PUBLISH, &DNS, &EGRESS, &SSH_KEY, &COMMAND, &DOCKER];
    let more = [&CLAUDE_LOGIN, &MEMORY, &CPUS, &PIDS, &CHANGED_ENV, &PROMPT];
    let rules = [&ALLOW, &DENY, &DROP_RULE];
    if !flags.iter().chain(&more).chain(&rules).any(|flag| parsed.has(flag)) {
        return Err(Failure::Usage("nothing to change is named".to_owned()));
    }
    let edit = read_edit(parsed)?;
    let mut runner = open_fleet(parsed, out)?;
    let found = choose_session(parsed, parsed.required(0), &mut runner, Care::Usual)?;
    let mut edit = edit(found.session.uuid);
    if predecessor::has(&found.session) {
        edit = predecessor::whole_edit(edit, &found.session).map_err(Failure::Failed)?;
    }
    let call = Call::Edit(edit);
    let result = ask_with_fields(&mut runner, &found.agent, &found.host, &call)?;
    let selected = Selected { session: parse_session(result)?, ..found };
    print_session(&selected, parsed.has(&JSON), "changed", out)?;
    if selected.session.running && !parsed.has(&JSON) {
        out.note(running_note(parsed));
    }
    Ok(Exit::Done)
}

/// What of a change holds already in a session that runs.
fn running_note(parsed: &Parsed) -> &'static str {
    let at_once = [&NAME, &SSH_KEY, &ALLOW, &DENY, &DROP_RULE];
    let flags = [&PORT, &PROTO, &PUBLISH, &DNS, &EGRESS, &COMMAND, &DOCKER, &CLAUDE_LOGIN];
    let more = [&MEMORY, &CPUS, &PIDS, &CHANGED_ENV, &PROMPT];
    let has_later = flags.iter().chain(&more).any(|flag| parsed.has(flag));
    match (has_later, parsed.has(&SSH_KEY)) {
        (true, true) => {
            "it is running: its old git key has ended already, its other settings change when it \
             is restarted"
        }
        (true, false) => "it is running and keeps its old settings until it is restarted",
        (false, true) => "it is running, and its old git key has ended already",
        (false, false) => {
            debug_assert!(at_once.iter().any(|flag| parsed.has(flag)), "something is changed");
            "it is running, and this holds already"
        }
    }
}

/// Checks all values before any agent is asked; only the id is still open.
fn read_edit(parsed: &Parsed) -> Result<impl FnOnce(Uuid) -> Edit, Failure> {
    let name = read_flag(parsed, &NAME, values::name)?;
    let port = read_flag(parsed, &PORT, values::port)?;
    let protocol = read_flag(parsed, &PROTO, values::protocol)?;
    let dns_name = read_flag(parsed, &DNS, values::dns_name)?;
    let command = read_flag(parsed, &COMMAND, values::command)?;
    let docker = read_flag(parsed, &DOCKER, values::yes_no)?;
    let memory = read_flag(parsed, &MEMORY, values::memory)?;
    let cpus = read_flag(parsed, &CPUS, values::cpus)?;
    let pids = read_flag(parsed, &PIDS, values::pids)?;
    let egress = read_flag(parsed, &EGRESS, values::egress)?;
    let publish = read_flag(parsed, &PUBLISH, values::publish)?;
    let ssh_key = read_flag(parsed, &SSH_KEY, values::ssh_key)?;
    let claude_login = read_flag(parsed, &CLAUDE_LOGIN, values::yes_no)?;
    let prompt = read_flag(parsed, &PROMPT, |text| {
        PromptChoice::parse(text).map_err(|error| error.to_string())
    })?;
    let env = env_change(parsed)?;
    let allow = rules_change(parsed)?;
    Ok(move |id| Edit {
        id,
        name,
        port,
        protocol,
        dns_name,
        command,
        docker,
        memory,
        cpus,
        pids,
        egress,
        allow,
        publish,
        ssh_key,
        claude_login,
        env,
        prompt,
    })
}

/// The rules that are added, and those that go.
fn rules_change(parsed: &Parsed) -> Result<Option<EgressChange>, Failure> {
    let mut change = EgressChange::default();
    for flag in [&ALLOW, &DENY, &DROP_RULE] {
        for text in parsed.values(flag) {
            let rules =
                if flag.name == DROP_RULE.name { &mut change.remove } else { &mut change.add };
            let rule = values::egress_rule(text).map(|rule| match flag.name == DENY.name {
                true => rule.denial(),
                false => rule,
            });
            rule.and_then(|rule| rules.add(rule).map_err(|error| error.0))
                .map_err(|error| Failure::Usage(format!("--{}: {error}", flag.name)))?;
        }
    }
    Ok((change != EgressChange::default()).then_some(change))
}

/// `NAME=VALUE` sets a variable, `NAME` removes it.
fn env_change(parsed: &Parsed) -> Result<Option<EnvChange>, Failure> {
    let mut change = EnvChange::default();
    for text in parsed.values(&CHANGED_ENV) {
        let (name, value) = values::env(text).map_or((text, None), |(name, it)| (name, Some(it)));
        change
            .add(name, value)
            .map_err(|error| Failure::Usage(format!("--{}: {error}", CHANGED_ENV.name)))?;
    }
    Ok(parsed.has(&CHANGED_ENV).then_some(change))
}
