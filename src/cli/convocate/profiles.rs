//! `convocate profiles`: the profiles of this host, and what a new session would get of one.

use serde_json::{Map, Value, json};

use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::convocate::new_options::{SETTING_FLAGS, chosen_profile, said};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT, root_paths};
use crate::cli::table::{Table, column};
use crate::exit::Exit;
use crate::fleet::profiles::{Chosen, Profile, merged};
use crate::fleet::run::profiles::{Profiles, read_profiles};
use crate::rpc::field::SessionCommand;
use crate::rpc::options::{ENV, SETTINGS, SessionOptions};

const CHECK: Flag =
    Flag::choice("check", "P", "say what a new session would get, and from where", &["none"]);

pub(crate) const PROFILES: Command = Command {
    name: "profiles",
    summary: "list the profiles that new sessions are made with",
    operands: &[],
    flags: &PROFILES_FLAGS,
    help: "\
A profile is a file of this host, /etc/convocate/profiles/NAME, with one setting a line:
an option of `convocate new` without its dashes, and its value. # begins a comment;
command, setup, prompt and env take their line as it is.

--check P says for every setting of a new session whether an option, the profile or the
agent's default decides. It takes the options of new.
",
    run: profiles,
};

const PROFILES_FLAGS: [Flag; SETTING_FLAGS.len() + 3] = {
    let mut flags = [CHECK; SETTING_FLAGS.len() + 3];
    let mut at = 0;
    while at < SETTING_FLAGS.len() {
        flags[at + 1] = SETTING_FLAGS[at];
        at += 1;
    }
    flags[at + 1] = JSON;
    flags[at + 2] = ROOT;
    flags
};

fn profiles(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let said = said(parsed)?;
    if let Some(name) = parsed.value(&CHECK) {
        let chosen = chosen_profile(Some(name), &root_paths(parsed)?)?;
        return check(parsed, &said, chosen.as_ref(), out);
    }
    if let Some(flag) = SETTING_FLAGS.iter().find(|flag| parsed.has(flag)) {
        return Err(Failure::Usage(format!("--{} needs --check", flag.name)));
    }
    let Profiles { found, problems } = read_profiles(&root_paths(parsed)?);
    match parsed.has(&JSON) {
        true => out.json(&json!({
            "profiles": found.iter().map(profile_json).collect::<Vec<_>>(),
            "problems": problems,
        }))?,
        false => {
            let mut table = Table::new(&[column("PROFILE", 0), column("SETTINGS", 0)], 1);
            for Profile { name, options } in &found {
                let text = options.as_ref().map_or("cannot be used".to_owned(), summary);
                table.push([name.to_string(), text]);
            }
            out.text(&table.render(out.width()))?;
        }
    }
    out.flush()?;
    let unfit = found.iter().filter_map(|profile| profile.options.as_ref().err());
    unfit.chain(&problems).for_each(|problem| out.note(problem));
    if found.is_empty() {
        let directory = root_paths(parsed)?.profiles();
        out.note(&format!("there are no profiles in {}", directory.display()));
    }
    let is_good = found.iter().all(|profile| profile.options.is_ok());
    Ok(if is_good { Exit::Done } else { Exit::Failed })
}

/// All that a profile says, in a line.
fn summary(options: &SessionOptions) -> String {
    let said =
        SETTINGS.iter().filter_map(|setting| Some((setting.name, options.get(setting.name)?)));
    said.map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
}

fn profile_json(profile: &Profile) -> Value {
    let settings = profile.options.as_ref().map(|options| {
        let said = SETTINGS.iter().filter(|setting| setting.name != ENV);
        let said = said.filter_map(|it| Some((it.name.to_owned(), json!(options.get(it.name)?))));
        let mut settings: Map<String, Value> = said.collect();
        if !options.env.is_empty() {
            settings.insert(ENV.to_owned(), json!(options.env));
        }
        settings
    });
    let (settings, error) = (settings.as_ref().ok(), settings.as_ref().err());
    json!({ "profile": profile.name, "settings": settings, "error": error })
}

/// What decides a setting, and what it comes to.
fn check(
    parsed: &Parsed,
    said: &SessionOptions,
    profile: Option<&Chosen>,
    out: &mut Out<'_>,
) -> Result<Exit, Failure> {
    let all = merged(said.clone(), profile).map_err(Failure::Failed)?;
    let told = SETTINGS.iter().map(|setting| {
        let name = setting.name;
        let value = all.get(name);
        let of_profile = profile.and_then(|it| it.options.get(name));
        let from = match (&value, said.get(name), of_profile) {
            (None, ..) => "default",
            (Some(_), Some(_), None) => "option",
            (Some(_), Some(_), Some(_)) if name == ENV => "option and profile",
            (Some(_), Some(_), _) => "option",
            (Some(_), None, _) => "profile",
        };
        let default = match name {
            "command" => SessionCommand::default().to_string(),
            _ => setting.default.to_owned(),
        };
        let shown = value.clone().map_or(default, |it| match it.is_empty() {
            true => "none".to_owned(),
            false => it,
        });
        (name, value, shown, from)
    });
    if parsed.has(&JSON) {
        let settings: Map<String, Value> = told
            .map(|(name, value, _, from)| {
                (name.to_owned(), json!({ "value": value, "from": from }))
            })
            .collect();
        let profile = profile.map(|profile| &profile.name);
        out.json(&json!({ "profile": profile, "settings": settings }))?;
    } else {
        let mut table =
            Table::new(&[column("SETTING", 0), column("FROM", 0), column("VALUE", 0)], 2);
        for (name, _, shown, from) in told {
            table.push([name.to_owned(), from.to_owned(), shown]);
        }
        out.text(&table.render(out.width()))?;
    }
    Ok(Exit::Done)
}
