//! Goal: something that must hold already, before the next step can do its work.

use std::path::PathBuf;

use crate::docker::{DockerRequest, DockerResponse};
use crate::provision::order::{Answer, Command, Entry, Question, Ran};
use crate::provision::step::{Goal, StepVerdict};

/// Something that nothing here can make hold.
pub(crate) struct Condition {
    pub(crate) check: Check,
    /// What to do about it: one sentence.
    pub(crate) advice: String,
}

/// What is asked, and what is wrong with the answer: one sentence, or nothing.
pub(crate) enum Check {
    /// What stands at a path.
    Path(PathBuf, fn(&Entry) -> Option<String>),
    /// The same, with the content of a file.
    Content(PathBuf, fn(&Entry) -> Option<String>),
    /// A program that changes nothing.
    Program(Command, fn(&Ran) -> Option<String>),
    /// A request that changes nothing. A Docker Engine that does not answer is a fault.
    Docker(DockerRequest, fn(DockerResponse) -> Option<String>),
}

impl Goal for Condition {
    fn questions(&self) -> Vec<Question> {
        vec![match &self.check {
            Check::Path(path, _) => Question::Look(path.clone()),
            Check::Content(path, _) => Question::Read(path.clone()),
            Check::Program(command, _) => Question::Run(command.clone()),
            Check::Docker(request, _) => Question::Engine(request.clone()),
        }]
    }

    fn judge(&self, answers: &[Answer]) -> StepVerdict {
        let fault = match (&self.check, answers) {
            (Check::Path(_, fault) | Check::Content(_, fault), [Answer::Looked(entry)]) => {
                fault(entry)
            }
            (Check::Program(_, fault), [Answer::Ran(ran)]) => fault(ran),
            (Check::Docker(_, fault), [Answer::Engine(Ok(response))]) => fault(response.clone()),
            (Check::Docker(..), [Answer::Engine(Err(why))]) => Some(why.clone()),
            _ => return StepVerdict::mismatch(),
        };
        match fault {
            None => StepVerdict::Holds,
            Some(what) => StepVerdict::refuse(what, self.advice.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::goal::testing::ran;

    #[test]
    fn a_condition_is_never_brought_about() {
        let fault = |ran: &Ran| (!ran.is_success()).then(|| "it is not true".to_owned());
        let check = Check::Program(Command::new("true", []), fault);
        let goal = Condition { check, advice: "make it so".to_owned() };
        assert_eq!(goal.judge(&[ran(0, "")]), StepVerdict::Holds);
        assert_eq!(goal.judge(&[ran(1, "")]), StepVerdict::refuse("it is not true", "make it so"));
        assert_eq!(goal.judge(&[Answer::Done]), StepVerdict::mismatch());
    }
}
