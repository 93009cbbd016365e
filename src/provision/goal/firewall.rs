//! Goals: ufw's rules, and ufw itself.
//!
//! Rules are added and never reset. A plan has the rule for the operator's own way in before
//! [`Firewall`]; ufw then asks whether it may disrupt connections, and is told that it may.

use crate::provision::order::{Answer, Command, Question};
use crate::provision::step::{Change, Goal, StepVerdict};

/// A port that is let in: `222/tcp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule(pub(crate) String);

/// ufw is on, now and after a boot, and lets in what a rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Firewall;

impl Goal for Rule {
    fn questions(&self) -> Vec<Question> {
        vec![Question::Run(Command::new("ufw", ["show", "added"]))]
    }

    fn judge(&self, answers: &[Answer]) -> StepVerdict {
        let [Answer::Ran(ran)] = answers else { return StepVerdict::mismatch() };
        // ufw puts a comment that somebody gave behind the rule. A rule without a protocol is for
        // each, and one that limits lets in, too.
        let port = self.0.split('/').next().unwrap_or_default();
        let is_rule = |line: &str| {
            let rule = line.split(" comment ").next().unwrap_or_default();
            let rule = rule.strip_prefix("ufw allow ").or_else(|| rule.strip_prefix("ufw limit "));
            rule.is_some_and(|rule| rule == self.0 || rule == port)
        };
        if ran.output.lines().any(|line| is_rule(line.trim())) {
            return StepVerdict::Holds;
        }
        let mut change = Change::default();
        change.run(format!("allow {}", self.0), Command::new("ufw", ["allow", &self.0]));
        StepVerdict::Differs(change)
    }
}

impl Goal for Firewall {
    fn questions(&self) -> Vec<Question> {
        vec![Question::Run(Command::new("ufw", ["status", "verbose"]))]
    }

    fn judge(&self, answers: &[Answer]) -> StepVerdict {
        let [Answer::Ran(ran)] = answers else { return StepVerdict::mismatch() };
        let is_active = ran.output.lines().any(|line| line.trim() == "Status: active");
        let denies = ran.output.lines().any(|line| line.starts_with("Default: deny (incoming)"));
        let mut change = Change::default();
        if !(is_active && denies) {
            let command = Command::new("ufw", ["default", "deny", "incoming"]);
            change.run("deny what comes in and no rule names", command);
        }
        if !is_active {
            change.run("enable ufw", Command::new("ufw", ["--force", "enable"]));
        }
        StepVerdict::of(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::goal::testing::{effects, ran};

    #[test]
    fn a_rule_is_added_once() {
        let rule = Rule("22/tcp".to_owned());
        let added = "Added user rules (see 'ufw status' for running firewall):\nufw allow ";
        assert_eq!(rule.judge(&[ran(0, &format!("{added}22/tcp\n"))]), StepVerdict::Holds);
        assert_eq!(
            rule.judge(&[ran(0, &format!("{added}22/tcp comment 'x'\n"))]),
            StepVerdict::Holds
        );
        for kept in ["ufw limit 22/tcp", "ufw limit 22", "ufw allow 22 comment 'x'"] {
            assert_eq!(rule.judge(&[ran(0, &format!("{kept}\n"))]), StepVerdict::Holds, "{kept}");
        }
        for other in ["222/tcp\n", "22/udp\n", "from 10.0.0.1 to any port 22\n", "22/tcpx\n"] {
            assert_eq!(
                effects(rule.judge(&[ran(0, &format!("{added}{other}"))])),
                ["allow 22/tcp"]
            );
        }
    }

    #[test]
    fn what_is_on_is_left_alone() {
        let on = "Status: active\nLogging: on (low)\nDefault: deny (incoming), allow (outgoing)\n";
        assert_eq!(Firewall.judge(&[ran(0, on)]), StepVerdict::Holds);
        let open = on.replace("deny", "allow");
        assert_eq!(effects(Firewall.judge(&[ran(0, &open)])).len(), 1);
        assert_eq!(effects(Firewall.judge(&[ran(0, "Status: inactive\n")])).len(), 2);
    }
}
