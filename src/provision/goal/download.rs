//! Goal: a file that is fetched, and is what its checksum says.

use std::path::PathBuf;

use crate::limits::{PROVISION_OUTPUT_LINES_SHOWN, VM_DISK_TIMEOUT, VM_SUMS_TIMEOUT};
use crate::provision::order::{Action, Answer, Command, End, Question, Ran};
use crate::provision::step::{Change, Goal, StepFailure, StepVerdict};
use crate::provision::vm::spec::{Sha256Hex, Url};

/// A file, in its place, with a checksum that is known or listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Download {
    /// Where it comes from; from nowhere, if it must be there already.
    pub(crate) url: Option<Url>,
    /// Its checksum; what the list beside it says if none.
    pub(crate) sha256: Option<Sha256Hex>,
    /// Where it is to be.
    pub(crate) path: PathBuf,
}

/// How curl is called for whatever it is: a server that does not answer, that answers with an error
/// or stands still for a minute is a failure.
pub(crate) fn curl() -> Command {
    Command::new("curl", ["--fail", "--location", "--silent", "--show-error"])
        .with(["--connect-timeout", "20", "--speed-limit", "1", "--speed-time", "60"])
        .with(["--proto", "=http,https"])
}

/// Tells a file's SHA-256.
fn sha256_of(path: &std::path::Path) -> Command {
    Command::new("sha256sum", ["--"]).with([path.display().to_string()]).within(VM_DISK_TIMEOUT)
}

/// Whether that told this SHA-256.
fn is_sha256(ran: &Ran, wanted: &Sha256Hex) -> bool {
    ran.is_success() && ran.output.split_whitespace().next() == Some(wanted.as_str())
}

impl Goal for Download {
    fn questions(&self) -> Vec<Question> {
        let list = |url: &Url| curl().with([url.sums()]).within(VM_SUMS_TIMEOUT);
        let list = self.url.as_ref().filter(|_| self.sha256.is_none()).map(list);
        list.into_iter().chain([sha256_of(&self.path)]).map(Question::Run).collect()
    }

    fn judge(&self, answers: &[Answer]) -> StepVerdict {
        let (list, found) = match (answers, &self.sha256) {
            ([Answer::Ran(found)], Some(_)) => (None, found),
            ([Answer::Ran(list), Answer::Ran(found)], None) => (Some(list), found),
            _ => return StepVerdict::mismatch(),
        };
        let wanted = match (&self.sha256, &self.url, list) {
            (Some(wanted), ..) => wanted.clone(),
            (None, Some(url), Some(list)) => match listed(url, list) {
                Ok(Some(wanted)) => wanted,
                Ok(None) => return unknown(url),
                Err(failure) => return StepVerdict::Refused(failure),
            },
            (None, ..) => return StepVerdict::mismatch(),
        };
        match &self.url {
            _ if is_sha256(found, &wanted) => StepVerdict::Holds,
            Some(url) => self.fetch(url, wanted),
            None => {
                let what = match found.output.split_whitespace().next() {
                    Some(other) => format!("its SHA-256 is {other}, and {wanted} is expected"),
                    None => "it cannot be read".to_owned(),
                };
                let output = found.last_lines(PROVISION_OUTPUT_LINES_SHOWN);
                let advice = format!("bring the right one to {}", self.path.display());
                StepVerdict::Refused(StepFailure { what, output, advice })
            }
        }
    }
}

impl Download {
    fn fetch(&self, url: &Url, sha256: Sha256Hex) -> StepVerdict {
        let (url, path) = (url.as_str().to_owned(), self.path.clone());
        let mut change = Change::default();
        let effect = format!("fetch {url} (SHA-256 {sha256})");
        change.add(effect, Action::Fetch { url, sha256, path });
        StepVerdict::Differs(change)
    }
}

/// Before the packages are there, a check can only tell that it would be fetched.
fn unknown(url: &Url) -> StepVerdict {
    let effects = vec![format!("fetch {url}, and compare it with {}", url.sums())];
    StepVerdict::Differs(Change { effects, ..Change::default() })
}

/// What the list says; `None` if there is no curl yet.
fn listed(url: &Url, list: &Ran) -> Result<Option<Sha256Hex>, StepFailure> {
    let (sums, name) = (url.sums(), url.file_name());
    let advice = "give the image's checksum with --image-sha256, or an image that is on the \
                  hypervisor with --image";
    if list.end == End::NotThere {
        return Ok(None);
    }
    if !list.is_success() {
        return Err(StepFailure {
            what: format!("the list of checksums does not come from {sums}"),
            output: list.last_lines(PROVISION_OUTPUT_LINES_SHOWN),
            advice: advice.to_owned(),
        });
    }
    let missing = || StepFailure::of(format!("{sums} does not list {name}")).advise(advice);
    Sha256Hex::in_list(&list.output, name).map(Some).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::goal::testing::{ended, ran};

    fn download(sha256: Option<&str>) -> Download {
        Download {
            url: Some(Url::parse("https://a.example/b/c.img").unwrap()),
            sha256: sha256.map(|text| Sha256Hex::parse(&text.repeat(64)).unwrap()),
            path: "/cache/c.img".into(),
        }
    }

    fn sum(digit: &str, name: &str) -> Answer {
        ran(0, &format!("{}  {name}\n", digit.repeat(64)))
    }

    fn verdict(sha256: Option<&str>, answers: &[Answer]) -> String {
        match download(sha256).judge(answers) {
            StepVerdict::Holds => "holds".to_owned(),
            StepVerdict::Differs(change) => format!("{:?}", change.actions),
            StepVerdict::Refused(failure) => failure.what,
        }
    }

    #[test]
    fn only_a_file_of_the_right_sum_is_not_fetched() {
        let fetched =
            |digit: &str| format!("[Fetch(https://a.example/b/c.img, {})]", digit.repeat(64));
        let missing = ran(1, "");
        assert_eq!(verdict(Some("1"), &[sum("1", "/cache/c.img")]), "holds");
        assert_eq!(verdict(Some("1"), &[sum("2", "/cache/c.img")]), fetched("1"));
        assert_eq!(verdict(Some("1"), std::slice::from_ref(&missing)), fetched("1"));
        assert_eq!(verdict(None, &[sum("3", "c.img"), sum("3", "/cache/c.img")]), "holds");
        assert_eq!(verdict(None, &[sum("3", "c.img"), missing]), fetched("3"));
    }

    #[test]
    fn what_must_be_there_is_not_fetched() {
        let goal = Download { url: None, ..download(Some("1")) };
        assert_eq!(goal.judge(&[sum("1", "/cache/c.img")]), StepVerdict::Holds);
        for (answer, told) in [(sum("2", "x"), "its SHA-256 is 222"), (ran(1, ""), "it ")] {
            let StepVerdict::Refused(failure) = goal.judge(&[answer]) else {
                panic!("not refused")
            };
            assert!(failure.what.starts_with(told), "{}", failure.what);
        }
    }

    #[test]
    fn without_a_checksum_nothing_is_fetched() {
        let missing = || ran(1, "");
        let told = verdict(None, &[missing(), missing()]);
        assert!(told.contains("does not come from https://a.example/b/SHA256SUMS"), "{told}");
        let told = verdict(None, &[sum("3", "d.img"), missing()]);
        assert!(told.contains("does not list c.img"), "{told}");
        assert_eq!(verdict(None, &[ended(End::NotThere, ""), missing()]), "[]");
    }

    #[test]
    fn the_list_is_asked_for_only_where_it_is_needed() {
        assert_eq!(download(Some("1")).questions().len(), 1);
        let [Question::Run(list), Question::Run(_)] = &download(None).questions()[..] else {
            panic!("two programs")
        };
        assert!(list.to_string().ends_with(" https://a.example/b/SHA256SUMS"), "{list}");
    }
}
