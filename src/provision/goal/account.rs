//! Goals: groups and users.
//!
//! `getent` is asked, so that an account of any name service counts; `groupadd` and `useradd` make
//! those that are missing. An account that is there with another number is refused: files on this
//! machine belong to the number.

use crate::provision::order::{Answer, Command, End, Question};
use crate::provision::step::{Change, Goal, StepVerdict};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) id: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) id: u32,
    /// The name of its group.
    pub(crate) group: String,
    /// Its home directory, which is not made here.
    pub(crate) home: String,
    pub(crate) shell: Shell,
    /// Groups that it is a member of, too.
    pub(crate) groups: Vec<String>,
}

/// The login shell of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shell {
    Is(String),
    /// This one if the user is new; whatever it is else.
    AtFirst(String),
}

impl Goal for Group {
    fn questions(&self) -> Vec<Question> {
        let ask = |key: &str| Question::Run(Command::new("getent", ["group", key]));
        vec![ask(&self.name), ask(&self.id.to_string())]
    }

    fn judge(&self, answers: &[Answer]) -> StepVerdict {
        let [by_name, by_id] = answers else { return StepVerdict::mismatch() };
        let (Some(by_name), Some(by_id)) = (line(by_name), line(by_id)) else {
            return getent_failed("group", &self.name);
        };
        if let Some(found) = by_name {
            let id = field(&found, 2);
            if id == self.id.to_string() {
                return StepVerdict::Holds;
            }
            return wrong_number("group", &self.name, id, self.id);
        }
        if let Some(other) = by_id {
            return taken_number("group", &self.name, self.id, field(&other, 0));
        }
        let mut change = Change::default();
        let command = Command::new("groupadd", ["--gid", &self.id.to_string(), &self.name]);
        change.run(format!("add group {} ({})", self.name, self.id), command);
        StepVerdict::Differs(change)
    }
}

impl Goal for User {
    fn questions(&self) -> Vec<Question> {
        vec![
            Question::Run(Command::new("getent", ["passwd", &self.name])),
            Question::Run(Command::new("getent", ["passwd", &self.id.to_string()])),
            Question::Run(Command::new("id", ["--name", "--groups", &self.name])),
        ]
    }

    fn judge(&self, answers: &[Answer]) -> StepVerdict {
        let [by_name, by_id, Answer::Ran(groups)] = answers else { return StepVerdict::mismatch() };
        let (Some(by_name), Some(by_id)) = (line(by_name), line(by_id)) else {
            return getent_failed("user", &self.name);
        };
        match (by_name, by_id) {
            (Some(found), _) => self.judge_found(&found, &groups.output),
            (None, Some(other)) => taken_number("user", &self.name, self.id, field(&other, 0)),
            (None, None) => {
                let mut change = Change::default();
                change.run(format!("add user {} ({})", self.name, self.id), self.addition());
                StepVerdict::Differs(change)
            }
        }
    }
}

impl User {
    fn judge_found(&self, found: &str, groups: &str) -> StepVerdict {
        let (id, home, shell) = (field(found, 2), field(found, 5), field(found, 6));
        if id != self.id.to_string() {
            return wrong_number("user", &self.name, id, self.id);
        }
        let mut change = Change::default();
        if home != self.home {
            let command = Command::new("usermod", ["--home", &self.home, &self.name]);
            change.run(format!("home {home} → {}", self.home), command);
        }
        if let Shell::Is(wanted) = &self.shell
            && shell != wanted
        {
            let command = Command::new("usermod", ["--shell", wanted, &self.name]);
            change.run(format!("login shell {shell} → {wanted}"), command);
        }
        let is_member = |group: &str| groups.split_whitespace().any(|found| found == group);
        let missing = std::iter::once(&self.group).chain(&self.groups);
        let missing: Vec<&str> =
            missing.map(String::as_str).filter(|group| !is_member(group)).collect();
        if !missing.is_empty() {
            let list = missing.join(",");
            let command = Command::new("usermod", ["--append", "--groups", &list, &self.name]);
            change.run(format!("member of {}", missing.join(", ")), command);
        }
        StepVerdict::of(change)
    }

    fn addition(&self) -> Command {
        let (Shell::Is(shell) | Shell::AtFirst(shell)) = &self.shell;
        let id = self.id.to_string();
        let command = Command::new("useradd", ["--uid", &id, "--gid", &self.group]);
        let command = command.with(["--home-dir", &self.home, "--no-create-home"]);
        let command = command.with(["--shell", shell]);
        match self.groups.is_empty() {
            true => command.with([&self.name]),
            false => command.with(["--groups", &self.groups.join(","), &self.name]),
        }
    }
}

/// The line that `getent` printed; `Some(None)` if there is no such entry (status 2).
#[expect(clippy::option_option, reason = "that it cannot tell is not that there is none")]
fn line(answer: &Answer) -> Option<Option<String>> {
    let Answer::Ran(ran) = answer else { return None };
    match ran.end {
        End::Code(0) => Some(ran.output.lines().next().map(str::to_owned)),
        End::Code(2) => Some(None),
        _ => None,
    }
}

fn field(line: &str, place: usize) -> &str {
    line.split(':').nth(place).unwrap_or_default()
}

fn getent_failed(kind: &str, name: &str) -> StepVerdict {
    StepVerdict::refuse(format!("getent cannot tell whether there is a {kind} {name}"), "")
}

fn wrong_number(kind: &str, name: &str, id: &str, wanted: u32) -> StepVerdict {
    let advice = format!("give {name} the number {wanted}, and its files to it, or rename it");
    StepVerdict::refuse(
        format!("{kind} {name} has the number {id} here instead of {wanted}"),
        advice,
    )
}

fn taken_number(kind: &str, name: &str, id: u32, other: &str) -> StepVerdict {
    let advice = format!("give {other} another number, and its files to it");
    StepVerdict::refuse(format!("{kind} {name} needs the number {id}, which {other} has"), advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::goal::testing::{actions, effects, ran};

    fn user(shell: Shell) -> User {
        User {
            name: "claude".into(),
            id: 1337,
            group: "claude".into(),
            home: "/home/claude".into(),
            shell,
            groups: vec!["docker".into()],
        }
    }

    const FOUND: &str = "claude:x:1337:1337::/home/claude:/bin/bash\n";

    #[test]
    fn a_missing_user_is_added_whole() {
        let made = user(Shell::AtFirst("/usr/sbin/nologin".into()));
        assert_eq!(
            actions(made.judge(&[ran(2, ""), ran(2, ""), ran(1, "")])),
            ["useradd --uid 1337 --gid claude --home-dir /home/claude --no-create-home \
              --shell /usr/sbin/nologin --groups docker claude"]
        );
    }

    #[test]
    fn what_differs_is_changed_and_nothing_else() {
        let kept = user(Shell::AtFirst("/usr/sbin/nologin".into()));
        let answers = [ran(0, FOUND), ran(0, FOUND), ran(0, "claude docker\n")];
        assert_eq!(kept.judge(&answers), StepVerdict::Holds);
        let login = user(Shell::Is("/usr/local/bin/convocate".into()));
        let answers = [ran(0, FOUND), ran(0, FOUND), ran(0, "claude dockers\n")];
        assert_eq!(
            actions(login.judge(&answers)),
            [
                "usermod --shell /usr/local/bin/convocate claude",
                "usermod --append --groups docker claude"
            ]
        );
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused_by_name() {
        let wanted = user(Shell::AtFirst("/bin/sh".into()));
        let other = "claude:x:1000:1000::/home/claude:/bin/bash";
        assert_eq!(
            effects(wanted.judge(&[ran(0, other), ran(2, ""), ran(0, "")])),
            ["user claude has the number 1000 here instead of 1337"]
        );
        assert_eq!(
            effects(wanted.judge(&[ran(2, ""), ran(0, "leet:x:1337:1::/:/bin/sh"), ran(1, "")])),
            ["user claude needs the number 1337, which leet has"]
        );
        let group = Group { name: "claude".into(), id: 1337 };
        assert_eq!(group.judge(&[ran(0, "claude:x:1337:"), ran(0, "")]), StepVerdict::Holds);
        assert_eq!(actions(group.judge(&[ran(2, ""), ran(2, "")])), ["groupadd --gid 1337 claude"]);
        assert!(effects(group.judge(&[ran(3, ""), ran(2, "")]))[0].starts_with("getent cannot"));
    }
}
