//! A step: its name, and what is to hold when it is done.

use crate::provision::goal::account::{Group, User};
use crate::provision::goal::capacity::Room;
use crate::provision::goal::command::{Condition, Settled};
use crate::provision::goal::download::Download;
use crate::provision::goal::file::{Absent, Directory, File};
use crate::provision::goal::firewall::{Firewall, Rule};
use crate::provision::goal::image::Image;
use crate::provision::goal::machine::{Defined, Disk};
use crate::provision::goal::package::Packages;
use crate::provision::goal::prune::NoOldImages;
use crate::provision::goal::unit::Unit;
use crate::provision::goal::upgrade::Upgrade;
use crate::provision::order::{Action, Answer, Command, Question};

/// One step of a plan.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// What it is called in reports: `user claude`.
    pub(crate) name: String,
    /// What is to hold.
    pub(crate) goal: Goal,
}

/// What is to hold on the machine.
#[derive(Clone, Debug)]
pub(crate) enum Goal {
    /// A file with content, owner and mode.
    File(File),
    /// A directory with owner and mode.
    Directory(Directory),
    /// Nothing at a path.
    Absent(Absent),
    Group(Group),
    User(User),
    /// Packages of the distribution.
    Packages(Packages),
    /// All packages of the distribution, as new as can be.
    Upgrade(Upgrade),
    /// A unit of systemd.
    Unit(Unit),
    /// A rule of ufw.
    Rule(Rule),
    Firewall(Firewall),
    /// An image of the Docker Engine.
    Image(Image),
    /// No image that nothing needs.
    NoOldImages(NoOldImages),
    /// Room for a virtual machine.
    Room(Room),
    /// A file from elsewhere.
    Download(Download),
    /// A disk of a virtual machine.
    Disk(Disk),
    /// A virtual machine that libvirt knows.
    Defined(Defined),
    /// What a program tells, and others bring about.
    Settled(Settled),
    /// What must hold already; nothing here can bring it about.
    Condition(Condition),
}

/// What a goal says to the answers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    Holds,
    /// It does not, and this would bring it about.
    Differs(Change),
    /// It does not, and nothing here can bring it about.
    Refused(Failure),
}

/// How the machine would get there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Change {
    /// What it amounts to, a few words each: `mode 0644 → 0640`.
    pub(crate) effects: Vec<String>,
    /// What changes in a file: lines that begin with `-`, `+` or a blank.
    pub(crate) diff: Vec<String>,
    /// The way, in this order.
    pub(crate) actions: Vec<Action>,
}

/// Why a step failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What happened, to what: one sentence.
    pub(crate) what: String,
    /// The last lines of the program that failed.
    pub(crate) output: Vec<String>,
    /// What to do next: one sentence, or nothing beyond calling again.
    pub(crate) advice: String,
}

impl Step {
    /// A step of this name.
    pub(crate) fn new(name: impl Into<String>, goal: impl Into<Goal>) -> Step {
        Step { name: name.into(), goal: goal.into() }
    }
}

impl Goal {
    /// What it needs to know. Asked before a change and after it.
    pub(crate) fn questions(&self) -> Vec<Question> {
        match self {
            Goal::File(goal) => goal.questions(),
            Goal::Directory(goal) => goal.questions(),
            Goal::Absent(goal) => goal.questions(),
            Goal::Group(goal) => goal.questions(),
            Goal::User(goal) => goal.questions(),
            Goal::Packages(goal) => goal.questions(),
            Goal::Upgrade(goal) => goal.questions(),
            Goal::Unit(goal) => goal.questions(),
            Goal::Rule(goal) => goal.questions(),
            Goal::Firewall(goal) => goal.questions(),
            Goal::Image(goal) => goal.questions(),
            Goal::NoOldImages(goal) => goal.questions(),
            Goal::Room(goal) => goal.questions(),
            Goal::Download(goal) => goal.questions(),
            Goal::Disk(goal) => goal.questions(),
            Goal::Defined(goal) => goal.questions(),
            Goal::Settled(goal) => goal.questions(),
            Goal::Condition(goal) => goal.questions(),
        }
    }

    /// What it says to the answers, one for each question.
    pub(crate) fn judge(&self, answers: &[Answer]) -> Verdict {
        let unanswered = answers.iter().find_map(|answer| match answer {
            Answer::Failed(what) => Some(Failure::of(what.clone())),
            _ => None,
        });
        if let Some(failure) = unanswered {
            return Verdict::Refused(failure);
        }
        match self {
            Goal::File(goal) => goal.judge(answers),
            Goal::Directory(goal) => goal.judge(answers),
            Goal::Absent(goal) => goal.judge(answers),
            Goal::Group(goal) => goal.judge(answers),
            Goal::User(goal) => goal.judge(answers),
            Goal::Packages(goal) => goal.judge(answers),
            Goal::Upgrade(goal) => goal.judge(answers),
            Goal::Unit(goal) => goal.judge(answers),
            Goal::Rule(goal) => goal.judge(answers),
            Goal::Firewall(goal) => goal.judge(answers),
            Goal::Image(goal) => goal.judge(answers),
            Goal::NoOldImages(goal) => goal.judge(answers),
            Goal::Room(goal) => goal.judge(answers),
            Goal::Download(goal) => goal.judge(answers),
            Goal::Disk(goal) => goal.judge(answers),
            Goal::Defined(goal) => goal.judge(answers),
            Goal::Settled(goal) => goal.judge(answers),
            Goal::Condition(goal) => goal.judge(answers),
        }
    }

    /// Where to look for the cause when an action of it has failed.
    pub(crate) fn examination(&self) -> Option<Question> {
        match self {
            Goal::Unit(goal) => Some(goal.examination()),
            _ => None,
        }
    }
}

impl Failure {
    /// A failure with nothing more to say than what happened.
    pub(crate) fn of(what: impl Into<String>) -> Failure {
        Failure { what: what.into(), ..Failure::default() }
    }

    /// The same with what to do next.
    #[must_use]
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Failure {
        self.advice = advice.into();
        self
    }
}

impl Verdict {
    /// A refusal: what is wrong, and what to do.
    pub(crate) fn refuse(what: impl Into<String>, advice: impl Into<String>) -> Verdict {
        Verdict::Refused(Failure::of(what).advise(advice))
    }

    /// For a driver that answers something else than it was asked.
    pub(super) fn mismatch() -> Verdict {
        Verdict::Refused(Failure::of("the answer is not one to this question"))
    }

    /// For a change that has something to do; it holds if there is nothing.
    pub(super) fn of(change: Change) -> Verdict {
        if change.actions.is_empty() { Verdict::Holds } else { Verdict::Differs(change) }
    }
}

impl Change {
    /// One more action and what it amounts to.
    pub(super) fn add(&mut self, effect: impl Into<String>, action: Action) {
        self.effects.push(effect.into());
        self.actions.push(action);
    }

    /// One more program to run and what it amounts to.
    pub(super) fn run(&mut self, effect: impl Into<String>, command: Command) {
        self.add(effect, Action::Run(command));
    }
}

macro_rules! goal_from {
    ($($name:ident),*) => {
        $(impl From<$name> for Goal {
            fn from(goal: $name) -> Goal {
                Goal::$name(goal)
            }
        })*
    };
}

goal_from!(
    File,
    Directory,
    Absent,
    Group,
    User,
    Packages,
    Upgrade,
    Unit,
    Rule,
    Firewall,
    Image,
    NoOldImages,
    Room,
    Download,
    Disk,
    Defined,
    Settled,
    Condition
);
