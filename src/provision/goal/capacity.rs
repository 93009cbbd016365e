//! Goal: a virtual machine more fits on this hypervisor. Nothing here brings it about.

use crate::provision::order::{Answer, Command, Question};
use crate::provision::step::{Goal, StepFailure, StepVerdict};
use crate::provision::vm::capacity::{Hypervisor, Promised};
use crate::provision::vm::spec::Size;

/// There is room for this one beside those that are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VmFits {
    pub(crate) wanted: Size,
    /// What the hypervisor has.
    pub(crate) hypervisor: Hypervisor,
    /// The machines that libvirt knows, by their UUIDs.
    pub(crate) machines: Vec<String>,
}

impl Goal for VmFits {
    fn questions(&self) -> Vec<Question> {
        let asked = |id: &String| {
            [
                virsh(["dominfo", "--domain"]).with([id]),
                virsh(["domblkinfo", "--all", "--domain"]).with([id]),
            ]
        };
        self.machines.iter().flat_map(asked).map(Question::Run).collect()
    }

    fn judge(&self, answers: &[Answer]) -> StepVerdict {
        let mut promised = Promised::default();
        if answers.len() != 2 * self.machines.len() {
            return StepVerdict::mismatch();
        }
        for (pair, id) in answers.chunks(2).zip(&self.machines) {
            match self.one(pair, id) {
                Ok(one) => promised = promised.and(one),
                Err(failure) => return StepVerdict::Refused(failure),
            }
        }
        let sums = self.hypervisor.sums(&promised, &self.wanted);
        let short: Vec<&str> =
            sums.iter().filter(|sum| !sum.fits()).map(|sum| sum.name()).collect();
        if short.is_empty() {
            return StepVerdict::Holds;
        }
        StepVerdict::Refused(StepFailure {
            what: format!("there is not enough for it: {}", short.join(", ")),
            output: sums.iter().map(ToString::to_string).collect(),
            advice: "nothing was changed; ask for less, or make room (virsh --connect \
                     qemu:///system list --all)"
                .to_owned(),
        })
    }
}

impl VmFits {
    fn one(&self, answers: &[Answer], id: &str) -> Result<Promised, StepFailure> {
        let [Answer::Ran(info), Answer::Ran(disks)] = answers else {
            return Err(StepFailure::of("the answer is not one to this question"));
        };
        let unclear = |what: String, output: Vec<String>| {
            let what = format!("what the machine {id} was promised cannot be told: {what}");
            let advice = "nothing was changed; see: virsh --connect qemu:///system list --all";
            StepFailure { what, output, advice: advice.to_owned() }
        };
        if let Some(ran) = [info, disks].into_iter().find(|ran| !ran.is_success()) {
            return Err(unclear(format!("virsh {}", ran.end), ran.last_lines(2)));
        }
        Promised::read(&info.output, &disks.output)
            .map_err(|missing| unclear(format!("virsh does not say {missing:?}"), Vec::new()))
    }
}

/// libvirt's own tool, for the machines of the system: without `--connect` it may see those of one
/// user, which are none.
pub(crate) fn virsh<const N: usize>(arguments: [&str; N]) -> Command {
    Command::new("virsh", ["--connect", "qemu:///system"]).with(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::goal::testing::ran;

    fn goal() -> VmFits {
        VmFits {
            wanted: Size { cpus: 1, memory_mib: 1024, os_gib: 1, data_gib: 1 },
            hypervisor: Hypervisor {
                cpus: 2,
                memory_bytes: 4 << 30,
                disk_bytes: 10 << 30,
                disk_used_bytes: 0,
            },
            machines: vec!["u-1".to_owned()],
        }
    }

    #[test]
    fn one_that_does_not_fit_is_refused_with_the_sums() {
        let disks = ran(0, "vda 1073741824 0 0\n");
        let info = |cpus: u32| ran(0, &format!("CPU(s): {cpus}\nMax memory: 1048576 KiB\n"));
        assert_eq!(goal().judge(&[info(0), disks.clone()]), StepVerdict::Holds);
        let StepVerdict::Refused(failure) = goal().judge(&[info(1), disks]) else {
            panic!("it is not refused")
        };
        assert_eq!(failure.what, "there is not enough for it: CPU");
        assert_eq!(failure.output.len(), 3);
        assert_eq!(failure.output[0], "CPU: 1 of 1 VM + 1 of this one = 2; 90 % of 2 is 1.8");
    }

    #[test]
    fn what_cannot_be_counted_is_no_goal() {
        let good = ran(0, "CPU(s): 0\nMax memory: 0 KiB\n");
        for answers in [
            vec![ran(1, ""), good.clone()],
            vec![good.clone(), ran(1, "")],
            vec![ran(0, ""), good.clone()],
            vec![good],
            vec![],
        ] {
            assert!(matches!(goal().judge(&answers), StepVerdict::Refused(_)), "{answers:?}");
        }
    }

    #[test]
    fn the_system_is_asked_and_not_a_user() {
        for question in goal().questions() {
            let Question::Run(command) = question else { panic!("no command") };
            assert!(command.to_string().starts_with("virsh --connect qemu:///system dom"));
            assert!(command.to_string().ends_with("--domain u-1"));
        }
    }
}
