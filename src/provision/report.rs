//! How a run is told: to a person, and to a program as one JSON object a line.
//!
//! The wire types are read by the other end of a remote run, so they are serialised and parsed from
//! the same definition.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::provision::engine::{StepEvent, StepMode, StepOutcome, StepTally};
use crate::provision::step::StepFailure;

/// One line of `--json`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case", tag = "line")]
pub(crate) enum ReportLine {
    /// A step has begun.
    Begin { step: String },
    /// A step has ended.
    Step(StepLine),
    /// The run has ended; the last line of it.
    End(EndLine),
}

/// A step that has ended.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub(crate) struct StepLine {
    pub(crate) step: String,
    pub(crate) result: StepResult,
    /// How long it took.
    pub(crate) seconds: f64,
    /// What was changed, or would be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) changes: Vec<String>,
    /// What changed in a file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) diff: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// The last lines of what failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) output: Vec<String>,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) advice: Option<String>,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StepResult {
    /// It held already.
    Ok,
    /// It was made to hold.
    Changed,
    /// It would be made to hold.
    WouldChange,
    /// It does not hold.
    Failed,
}

/// A run that has ended.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq)]
pub(crate) struct EndLine {
    /// All steps that were taken.
    pub(crate) steps: usize,
    /// Those that were changed, or would be.
    pub(crate) changed: usize,
    pub(crate) ok: usize,
    pub(crate) failed: usize,
    /// How long it took.
    pub(crate) seconds: f64,
    /// Whether nothing was to be changed.
    pub(crate) check: bool,
}

impl ReportLine {
    /// An event as a line.
    pub(crate) fn of(event: &StepEvent, mode: StepMode) -> ReportLine {
        match event {
            StepEvent::Started { name } => ReportLine::Begin { step: name.clone() },
            StepEvent::Finished { name, outcome, took } => {
                ReportLine::Step(StepLine::of(name, outcome, *took, mode))
            }
        }
    }

    pub(crate) fn end(tally: StepTally, mode: StepMode, took: Duration) -> ReportLine {
        ReportLine::End(EndLine {
            steps: tally.steps,
            changed: tally.changed,
            ok: tally.ok,
            failed: tally.failed,
            seconds: rounded(took),
            check: mode == StepMode::Check,
        })
    }

    /// The line for a person. `None` for a beginning, which is [`beginning`] on a terminal.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            ReportLine::Begin { .. } => None,
            ReportLine::Step(line) => Some(format!("{}{}", beginning(&line.step), line.ending())),
            ReportLine::End(line) => Some(line.text()),
        }
    }
}

/// How the line of a step begins: on a terminal it stands there while the step is taken.
pub(crate) fn beginning(step: &str) -> String {
    format!("{step} … ")
}

impl StepLine {
    fn of(name: &str, outcome: &StepOutcome, took: Duration, mode: StepMode) -> StepLine {
        let mut line = StepLine {
            step: name.to_owned(),
            result: StepResult::Ok,
            seconds: rounded(took),
            changes: Vec::new(),
            diff: Vec::new(),
            error: None,
            output: Vec::new(),
            advice: None,
        };
        match outcome {
            StepOutcome::Ok => {}
            StepOutcome::Changed(change) => {
                line.result = match mode {
                    StepMode::Apply => StepResult::Changed,
                    StepMode::Check => StepResult::WouldChange,
                };
                line.changes.clone_from(&change.effects);
                // Who has the change made sees the file; who only asks has nothing else.
                if mode == StepMode::Check {
                    line.diff.clone_from(&change.diff);
                }
            }
            StepOutcome::Failed(StepFailure { what, output, advice }) => {
                line.result = StepResult::Failed;
                line.error = Some(what.clone());
                line.output.clone_from(output);
                line.advice = Some(advice.clone()).filter(|advice| !advice.is_empty());
            }
        }
        line
    }

    /// Something that is told like a step: it holds, or here is why not and what to do.
    pub(crate) fn shown(
        name: &str,
        error: Option<&String>,
        advice: &str,
        took: Duration,
    ) -> StepLine {
        let failure = error.map(|what| StepFailure::of(what.clone()).advise(advice));
        let outcome = failure.map_or(StepOutcome::Ok, StepOutcome::Failed);
        StepLine::of(name, &outcome, took, StepMode::Apply)
    }

    /// That it was brought about, or would be.
    pub(crate) fn has_changed(&mut self, effect: &str, check: bool) {
        self.result = if check { StepResult::WouldChange } else { StepResult::Changed };
        self.changes.push(effect.to_owned());
    }

    /// The rest of the line behind its [`beginning`], and the lines below it.
    pub(crate) fn ending(&self) -> String {
        let mut text = match (self.result, &self.error) {
            (StepResult::Ok, _) => "ok".to_owned(),
            (StepResult::Changed, _) if self.seconds >= 1.0 => {
                format!("changed ({:.1} s)", self.seconds)
            }
            (StepResult::Changed, _) => "changed".to_owned(),
            (StepResult::WouldChange, _) => "would change".to_owned(),
            (StepResult::Failed, Some(error)) => format!("FAILED: {error}"),
            (StepResult::Failed, None) => "FAILED".to_owned(),
        };
        let mut below = |mark: &str, line: &str| text.push_str(&format!("\n    {mark}{line}"));
        self.changes.iter().for_each(|line| below("", line));
        self.diff.iter().for_each(|line| below("  ", line));
        self.output.iter().for_each(|line| below("| ", line));
        self.advice.iter().for_each(|line| below("", line));
        text
    }
}

impl EndLine {
    /// Counts something that was shown as a step.
    pub(crate) fn count(&mut self, line: &StepLine) {
        self.steps += 1;
        match line.result {
            StepResult::Ok => self.ok += 1,
            StepResult::Changed | StepResult::WouldChange => self.changed += 1,
            StepResult::Failed => self.failed += 1,
        }
        self.seconds += line.seconds;
    }

    /// Both runs as one.
    pub(crate) fn add(&mut self, other: &EndLine) {
        self.steps += other.steps;
        self.changed += other.changed;
        self.ok += other.ok;
        self.failed += other.failed;
        self.seconds += other.seconds;
        self.check |= other.check;
    }

    /// `31 steps, 9 changed, 22 ok, 0 failed in 48 s`
    pub(crate) fn text(&self) -> String {
        let changed = if self.check { "would change" } else { "changed" };
        format!(
            "{} steps, {} {changed}, {} ok, {} failed in {:.0} s",
            self.steps, self.changed, self.ok, self.failed, self.seconds
        )
    }
}

/// Seconds with a digit for tenths; a run is not a measurement.
fn rounded(took: Duration) -> f64 {
    (took.as_secs_f64() * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::step::Change;

    fn line(outcome: StepOutcome, mode: StepMode) -> ReportLine {
        let took = Duration::from_millis(1440);
        ReportLine::of(&StepEvent::Finished { name: "a file".into(), outcome, took }, mode)
    }

    #[test]
    fn a_person_reads_one_line_and_what_is_below() {
        let change = Change {
            effects: vec!["rewrite /a".into()],
            diff: vec!["-x".into(), "+y".into()],
            actions: Vec::new(),
        };
        let text = |outcome, mode| line(outcome, mode).text().unwrap();
        assert_eq!(text(StepOutcome::Ok, StepMode::Apply), "a file … ok");
        assert_eq!(
            text(StepOutcome::Changed(change.clone()), StepMode::Apply),
            "a file … changed (1.4 s)\n    rewrite /a"
        );
        assert_eq!(
            text(StepOutcome::Changed(change), StepMode::Check),
            "a file … would change\n    rewrite /a\n      -x\n      +y"
        );
        let failure =
            StepFailure { what: "no".into(), output: vec!["E: x".into()], advice: "do".into() };
        let failed = text(StepOutcome::Failed(failure), StepMode::Apply);
        assert_eq!(failed, "a file … FAILED: no\n    | E: x\n    do");
    }

    #[test]
    fn a_program_reads_what_it_was_told() {
        let tally = StepTally { steps: 3, changed: 1, ok: 2, failed: 0 };
        let end = ReportLine::end(tally, StepMode::Apply, Duration::from_secs(48));
        assert_eq!(end.text().unwrap(), "3 steps, 1 changed, 2 ok, 0 failed in 48 s");
        let failure = StepFailure::of("no");
        for line in [
            end,
            line(StepOutcome::Failed(failure), StepMode::Apply),
            line(StepOutcome::Ok, StepMode::Check),
        ] {
            let json = serde_json::to_string(&line).unwrap();
            assert_eq!(serde_json::from_str::<ReportLine>(&json).unwrap(), line, "{json}");
            assert!(!json.contains("null") && !json.contains("[]"), "{json}");
        }
    }
}
