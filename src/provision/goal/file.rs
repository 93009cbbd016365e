//! Goals: files, directories, and paths where nothing is to be.

use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::provision::diff::diff;
use crate::provision::order::{Access, Action, Answer, Entry, Question, Seen};
use crate::provision::step::{Change, Goal, StepVerdict};

/// A file with content, owner and mode.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    /// What is in it.
    pub(crate) content: Content,
    pub(crate) access: Access,
}

/// What is in a file.
#[derive(Clone)]
pub(crate) enum Content {
    /// This text. What stands there and does not begin with `mark` was not written by us, and is
    /// kept beside it under [`KEPT_SUFFIX`].
    Text {
        text: String,
        /// How each file of ours begins.
        mark: &'static str,
    },
    /// These bytes, of which no difference is shown: a program.
    Binary(Vec<u8>),
    /// These bytes, of which nothing is ever shown: a key, or a file that has a secret in it.
    Secret(Zeroizing<Vec<u8>>),
    /// What is there, if `check` takes it; these bytes if nothing is. For what is made once, as an
    /// identity. No difference is shown.
    Once {
        /// What a new file has.
        bytes: Zeroizing<Vec<u8>>,
        /// What is wrong with a file that is there: one sentence to stand behind its path.
        check: fn(&[u8]) -> Result<(), String>,
    },
    /// Lines of others, and this one among them.
    Line {
        line: String,
        /// Other lines that make room for it.
        instead_of: Option<Others>,
    },
}

/// Lines of a file that another one takes the place of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    /// Those that begin so.
    Beginning(String),
    /// Those that end so.
    Ending(String),
}

/// A directory with owner and mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    pub(crate) access: Access,
}

/// A path where no file is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Absent(pub(crate) PathBuf);

/// What is appended to the name of somebody else's file that we replace: dnsmasq, run-parts,
/// logrotate, rsyslog and systemd all pass over such names.
pub(crate) const KEPT_SUFFIX: &str = ".dpkg-old";

impl Goal for File {
    fn questions(&self) -> Vec<Question> {
        vec![Question::Read(self.path.clone())]
    }

    fn judge(&self, answers: &[Answer]) -> StepVerdict {
        let [Answer::Looked(entry)] = answers else { return StepVerdict::mismatch() };
        match entry {
            Entry::Missing => StepVerdict::Differs(self.creation()),
            Entry::File { bytes, seen } => self.judge_file(bytes, seen),
            Entry::Directory(_) => in_the_way(&self.path, "a directory"),
            Entry::Other(what) => in_the_way(&self.path, what),
        }
    }
}

impl File {
    fn creation(&self) -> Change {
        let bytes = match &self.content {
            Content::Text { text, .. } => Zeroizing::new(text.clone().into_bytes()),
            Content::Binary(bytes) => Zeroizing::new(bytes.clone()),
            Content::Secret(bytes) | Content::Once { bytes, .. } => bytes.clone(),
            Content::Line { line, .. } => Zeroizing::new(format!("{line}\n").into_bytes()),
        };
        let shown = self.content.shown(&bytes);
        let mut change = Change { diff: diff("", &shown), ..Change::default() };
        change.add(format!("create {} ({})", self.path.display(), self.access), self.write(bytes));
        change
    }

    fn judge_file(&self, found: &[u8], seen: &Seen) -> StepVerdict {
        let mut change = Change::default();
        match &self.content {
            Content::Text { text, mark } if found != text.as_bytes() => {
                if !found.is_empty() && !found.starts_with(mark.as_bytes()) {
                    self.keep_aside(found, seen, &mut change);
                }
                self.rewrite(found, text.clone().into_bytes(), &mut change);
            }
            Content::Binary(bytes) if found != bytes => {
                self.rewrite(found, bytes.clone(), &mut change);
            }
            Content::Secret(bytes) if found != bytes.as_slice() => {
                self.rewrite(found, bytes.to_vec(), &mut change);
            }
            Content::Once { check, .. } => {
                if let Err(why) = check(found) {
                    let what = format!("{} {why}", self.path.display());
                    let advice = format!("move {} away if it is not needed", self.path.display());
                    return StepVerdict::refuse(what, advice);
                }
            }
            Content::Line { line, instead_of } => {
                if let Some(text) = with_line(found, line, instead_of.as_ref()) {
                    self.rewrite(found, text.into_bytes(), &mut change);
                }
            }
            Content::Text { .. } | Content::Binary(_) | Content::Secret(_) => {}
        }
        let differences = access_differences(&self.access, seen);
        if change.actions.is_empty() && !differences.is_empty() {
            change.actions.push(set_access(&self.path, &self.access));
        }
        change.effects.extend(differences);
        StepVerdict::of(change)
    }

    fn rewrite(&self, found: &[u8], wanted: Vec<u8>, change: &mut Change) {
        change.diff = diff(&self.content.shown(found), &self.content.shown(&wanted));
        let effect = format!("rewrite {}", self.path.display());
        change.add(effect, self.write(Zeroizing::new(wanted)));
    }

    /// Somebody else wrote what is there; it is kept, and the operator is told.
    fn keep_aside(&self, found: &[u8], seen: &Seen, change: &mut Change) {
        let mut name = self.path.clone().into_os_string();
        name.push(KEPT_SUFFIX);
        let path = PathBuf::from(name);
        let effect = format!("keep what was there, which is not ours, as {}", path.display());
        let access = Access { owner: Some(seen.account.clone()), mode: seen.mode };
        let bytes = Zeroizing::new(found.to_vec());
        change.add(effect, Action::Write { path, bytes, access });
    }

    fn write(&self, bytes: Zeroizing<Vec<u8>>) -> Action {
        Action::Write { path: self.path.clone(), bytes, access: self.access.clone() }
    }
}

impl Content {
    /// What of the bytes may be shown.
    fn shown(&self, bytes: &[u8]) -> String {
        match self {
            Content::Text { .. } | Content::Line { .. } => {
                String::from_utf8_lossy(bytes).into_owned()
            }
            Content::Binary(_) | Content::Secret(_) | Content::Once { .. } => String::new(),
        }
    }
}

/// Private keys are in files.
impl fmt::Debug for Content {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Text { text, .. } => write!(out, "Text({text:?})"),
            Content::Binary(bytes) => write!(out, "Binary({} bytes)", bytes.len()),
            Content::Secret(bytes) => write!(out, "Secret({} bytes)", bytes.len()),
            Content::Once { bytes, .. } => write!(out, "Once({} bytes)", bytes.len()),
            Content::Line { line, .. } => write!(out, "Line({line:?})"),
        }
    }
}

/// The text with the line in it; `None` if it is there already and nothing stands in for it.
fn with_line(found: &[u8], line: &str, instead_of: Option<&Others>) -> Option<String> {
    let found = String::from_utf8_lossy(found);
    let is_replaced = |other: &str| {
        let is_meant = match instead_of {
            None => false,
            Some(Others::Beginning(text)) => other.starts_with(text),
            Some(Others::Ending(text)) => other.ends_with(text),
        };
        is_meant && other != line
    };
    let has_line = found.lines().any(|other| other == line);
    if has_line && !found.lines().any(is_replaced) {
        return None;
    }
    let mut text = String::new();
    for other in found.lines().filter(|other| !is_replaced(other)) {
        text.push_str(other);
        text.push('\n');
    }
    if !has_line {
        text.push_str(line);
        text.push('\n');
    }
    Some(text)
}

impl Goal for Directory {
    fn questions(&self) -> Vec<Question> {
        vec![Question::Look(self.path.clone())]
    }

    fn judge(&self, answers: &[Answer]) -> StepVerdict {
        let [Answer::Looked(entry)] = answers else { return StepVerdict::mismatch() };
        let mut change = Change::default();
        match entry {
            Entry::Missing => {
                let (path, access) = (self.path.clone(), self.access.clone());
                let effect = format!("create {} ({access})", path.display());
                change.add(effect, Action::MakeDirectory { path, access });
            }
            Entry::Directory(seen) => {
                change.effects = access_differences(&self.access, seen);
                if !change.effects.is_empty() {
                    change.actions.push(set_access(&self.path, &self.access));
                }
            }
            Entry::File { .. } => return in_the_way(&self.path, "a file"),
            Entry::Other(what) => return in_the_way(&self.path, what),
        }
        StepVerdict::of(change)
    }
}

impl Goal for Absent {
    fn questions(&self) -> Vec<Question> {
        vec![Question::Look(self.0.clone())]
    }

    fn judge(&self, answers: &[Answer]) -> StepVerdict {
        let [Answer::Looked(entry)] = answers else { return StepVerdict::mismatch() };
        let mut change = Change::default();
        match entry {
            Entry::Missing => {}
            Entry::Directory(_) => return in_the_way(&self.0, "a directory"),
            Entry::File { .. } | Entry::Other(_) => {
                change.add(format!("remove {}", self.0.display()), Action::Remove(self.0.clone()));
            }
        }
        StepVerdict::of(change)
    }
}

fn set_access(path: &Path, access: &Access) -> Action {
    Action::SetAccess { path: path.to_owned(), access: access.clone() }
}

/// What would change: `owner root:root → root:claude`, `mode 0644 → 0640`.
fn access_differences(wanted: &Access, seen: &Seen) -> Vec<String> {
    let owner = wanted.owner.as_ref().filter(|owner| **owner != seen.account);
    let owner = owner.map(|owner| format!("owner {} → {owner}", seen.account));
    let mode =
        (wanted.mode != seen.mode).then(|| format!("mode {:04o} → {:04o}", seen.mode, wanted.mode));
    owner.into_iter().chain(mode).collect()
}

fn in_the_way(path: &Path, what: &str) -> StepVerdict {
    let path = path.display();
    StepVerdict::refuse(format!("{path} is {what}"), format!("move {path} away"))
}

#[cfg(test)]
mod tests;
