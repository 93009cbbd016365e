//! How a session comes from its start to its command, with both runtimes: by one script, which the
//! command line and the environment bring along, so that it fits an image of any version.

use super::work::StartPlan;

/// Clones, sets up, and becomes the command.
const SCRIPT: &str = include_str!("startup.sh");

/// The variable that holds the script.
const START: &str = "CONVOCATE_START";

/// The text that the session's shell runs: the command itself where nothing is to be done before.
pub(crate) fn command_text(plan: &StartPlan) -> String {
    let command = plan.command.as_str();
    match is_needed(plan) {
        true => format!("bash -c \"${START}\" start {}", quoted(command)),
        false => command.to_owned(),
    }
}

/// What the script is told, and the script.
pub(crate) fn variables(plan: &StartPlan) -> Vec<(&'static str, String)> {
    if !is_needed(plan) {
        return Vec::new();
    }
    let startup = &plan.startup;
    let told = [
        ("CONVOCATE_REPO", startup.repo.as_ref().map(|repo| repo.as_str())),
        ("CONVOCATE_DIRECTORY", startup.repo.as_ref().map(|repo| repo.directory())),
        ("CONVOCATE_BRANCH", startup.branch.as_ref().map(|branch| branch.as_str())),
        ("CONVOCATE_SETUP", startup.setup.as_ref().map(|setup| setup.as_str())),
        ("CONVOCATE_PROMPT", startup.prompt.as_ref().map(|prompt| prompt.as_str())),
    ];
    let told = told.into_iter().filter_map(|(name, text)| Some((name, text?.to_owned())));
    told.chain([(START, SCRIPT.to_owned())]).collect()
}

fn is_needed(plan: &StartPlan) -> bool {
    let startup = &plan.startup;
    startup.repo.is_some() || startup.setup.is_some() || startup.prompt.is_some()
}

/// As one word of the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::Command;

    use super::super::docker::description::tests::plan;
    use super::*;
    use crate::rpc::field::SessionCommand;
    use crate::rpc::startup::{Prompt, SetupCommand, Startup};

    /// A home that is gone with the test.
    struct Home(PathBuf);

    impl Home {
        fn new(name: &str) -> Home {
            let name = format!("convocate-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&path).unwrap();
            Home(path)
        }
    }

    impl Drop for Home {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// A start in a home: its status and what it said.
    fn start(home: &Home, command: &str, startup: Startup) -> (Option<i32>, String) {
        let command = SessionCommand::parse(command).unwrap();
        let plan = StartPlan { command, startup: Box::new(startup), ..plan() };
        let output = Command::new("bash")
            .args(["-c", &command_text(&plan)])
            .envs(variables(&plan))
            .env("HOME", &home.0)
            .current_dir(&home.0)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    #[test]
    fn a_command_alone_is_left_alone() {
        let plan = StartPlan { startup: Box::default(), ..plan() };
        assert_eq!(command_text(&plan), plan.command.as_str());
        assert_eq!(variables(&plan), []);
    }

    #[test]
    fn a_prompt_is_one_argument_and_is_given_once() {
        let home = Home::new("prompt");
        let prompt =
            |text: &str| Startup { prompt: Prompt::parse(text).ok(), ..Startup::default() };
        let hostile = "don't $(exit 9) `x` \"y\"\n\\ ; #12";
        let said = start(&home, "printf '<%s>' it\\'s", prompt(hostile));
        assert_eq!(said, (Some(0), format!("<it's><{hostile}>")));
        assert_eq!(start(&home, "printf '<%s>' a", prompt(hostile)).1, "<a>");
        assert_eq!(start(&home, "printf '<%s>' a", prompt("next")).1, "<a><next>");
        let missing = start(&home, "no-such-command-here", prompt("again"));
        assert_eq!(missing.0, Some(127));
        assert_eq!(
            start(&home, "printf '<%s>' a; env | grep CONVOCATE_[SRBDP][TERI];:", prompt("again"))
                .1,
            "<a>"
        );
        assert_eq!(start(&home, "exit 3;:", prompt("status")).0, Some(3));
    }

    #[test]
    fn a_setup_runs_once_and_its_failure_leaves_a_shell() {
        let home = Home::new("setup");
        let setup =
            |text: &str| Startup { setup: SetupCommand::parse(text).ok(), ..Startup::default() };
        let (status, said) = start(&home, "echo ran", setup("echo x >>log; test -e ready"));
        assert!(said.contains("the setup command ended with status 1"), "{said}");
        assert!(!said.contains("ran\n") && status == Some(0), "{said}");
        std::fs::write(home.0.join("ready"), "").unwrap();
        for expected in ["x\nx\n", "x\nx\n"] {
            let said = start(&home, "echo ran", setup("echo x >>log; test -e ready")).1;
            assert!(said.ends_with("ran\n"), "{said}");
            assert_eq!(std::fs::read_to_string(home.0.join("log")).unwrap(), expected);
        }
    }
}
