//! Goals: the disks of a virtual machine, and the machine itself as libvirt knows it.

use std::path::PathBuf;

use serde_json::Value;
use zeroize::Zeroizing;

use crate::limits::{PROVISION_OUTPUT_LINES_SHOWN, VM_DISK_TIMEOUT, VM_IMAGE_BYTES_MIN};
use crate::provision::goal::capacity::virsh;
use crate::provision::order::{Access, Action, Answer, Command, End, Question, Ran};
use crate::provision::step::{Change, Goal, StepFailure, StepVerdict};

/// A disk of this size, which grows as it is filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VmDisk {
    pub(crate) path: PathBuf,
    /// How large the machine sees it.
    pub(crate) gib: u64,
    /// What it begins as; empty if nothing.
    pub(crate) image: Option<PathBuf>,
    /// Who may read it while no machine runs on it; libvirt sees to the rest.
    pub(crate) access: Access,
}

/// A machine that libvirt knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DefinedVm {
    pub(crate) name: String,
    /// What libvirt is told.
    pub(crate) xml: String,
    /// Where that stands while libvirt reads it.
    pub(crate) path: PathBuf,
    /// Who may read it there.
    pub(crate) access: Access,
}

impl Goal for VmDisk {
    fn questions(&self) -> Vec<Question> {
        let paths = std::iter::once(&self.path).chain(&self.image);
        paths.map(|path| Question::Run(info(path))).collect()
    }

    fn judge(&self, answers: &[Answer]) -> StepVerdict {
        let (found, image) = match (answers, &self.image) {
            ([Answer::Ran(found)], None) => (found, None),
            ([Answer::Ran(found), Answer::Ran(image)], Some(path)) => (found, Some((image, path))),
            _ => return StepVerdict::mismatch(),
        };
        let bytes = self.gib.saturating_mul(1 << 30);
        if size(found).is_some_and(|(size, _)| size == bytes) {
            return StepVerdict::Holds;
        }
        let (path, wanted) = (self.path.display().to_string(), format!("{}G", self.gib));
        let qemu_img = |verb| Command::new("qemu-img", [verb, "-q"]).within(VM_DISK_TIMEOUT);
        let mut change = Change::default();
        let Some((told, image)) = image else {
            let create = qemu_img("create").with(["-f", "qcow2", &path, &wanted]);
            change.run(format!("create {path} ({} GB)", self.gib), create);
            self.shut(&mut change);
            return StepVerdict::Differs(change);
        };
        let format = match self.fits(told, image, bytes) {
            Ok(format) => format,
            Err(failure) => return StepVerdict::Refused(failure),
        };
        let copy = qemu_img("convert").with(["-f", &format, "-O", "qcow2"]);
        let copy = copy.with([image.display().to_string(), path.clone()]);
        change.run(format!("copy the image to {path}"), copy);
        let grow = qemu_img("resize").with(["-f", "qcow2", &path, &wanted]);
        change.run(format!("make it {} GB", self.gib), grow);
        self.shut(&mut change);
        StepVerdict::Differs(change)
    }
}

impl VmDisk {
    /// What QEMU makes is for everyone to read.
    fn shut(&self, change: &mut Change) {
        let (path, access) = (self.path.clone(), self.access.clone());
        change.add(format!("let it be {access}"), Action::SetAccess { path, access });
    }

    /// The image's format, if it fits on the disk.
    fn fits(&self, told: &Ran, image: &std::path::Path, bytes: u64) -> Result<String, StepFailure> {
        let image = image.display();
        if told.end == End::NotThere {
            // Before the packages are there, a check can only tell that it would be copied.
            return Ok("qcow2".to_owned());
        }
        // QEMU takes any file for a raw disk.
        let found = size(told).filter(|&(size, _)| size >= VM_IMAGE_BYTES_MIN);
        let (size, format) = found.ok_or_else(|| StepFailure {
            what: format!("{image} is no image of a disk"),
            output: told.last_lines(PROVISION_OUTPUT_LINES_SHOWN),
            advice: "give a path on the hypervisor with --image, or an address with --image-url"
                .to_owned(),
        })?;
        if size > bytes {
            let tenths = (u128::from(size) * 10).div_ceil(1 << 30);
            let what = format!(
                "the disk in {image} has {}.{} GB, and the machine's is to have {}",
                tenths / 10,
                tenths % 10,
                self.gib
            );
            return Err(StepFailure::of(what).advise("give more with --osdisk"));
        }
        Ok(format)
    }
}

fn info(path: &std::path::Path) -> Command {
    Command::new("qemu-img", ["info", "--output=json"]).with([path.display().to_string()])
}

/// How large a disk is that an image has, and in which format.
fn size(told: &Ran) -> Option<(u64, String)> {
    let value: Value = serde_json::from_str(&told.output).ok().filter(|_| told.is_success())?;
    let format = value["format"].as_str().filter(|it| ["qcow2", "raw", "vmdk"].contains(it))?;
    // A disk that needs others is none that can be copied from here.
    let is_alone = value["backing-filename"].is_null() && value["full-backing-filename"].is_null();
    Some((value["virtual-size"].as_u64().filter(|_| is_alone)?, format.to_owned()))
}

impl Goal for DefinedVm {
    fn questions(&self) -> Vec<Question> {
        vec![Question::Run(virsh(["list", "--all", "--name"]))]
    }

    fn judge(&self, answers: &[Answer]) -> StepVerdict {
        let [Answer::Ran(list)] = answers else { return StepVerdict::mismatch() };
        if list.output.lines().any(|line| line.trim() == self.name) {
            return StepVerdict::Holds;
        }
        let mut change = Change::default();
        let path = self.path.display().to_string();
        let bytes = Zeroizing::new(self.xml.clone().into_bytes());
        let write = Action::Write { path: self.path.clone(), bytes, access: self.access.clone() };
        change.actions.push(write);
        change.run(format!("let libvirt know {}", self.name), virsh(["define", &path]));
        change.actions.push(Action::Remove(self.path.clone()));
        StepVerdict::Differs(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::goal::testing::{actions, ended, ran};

    fn told(gib: u64) -> Answer {
        let size = gib << 30;
        let text = format!("{{\"virtual-size\": {size}, \"format\": \"qcow2\"}}");
        ran(0, &text)
    }

    fn disk(image: bool) -> VmDisk {
        let access = Access { owner: None, mode: 0o600 };
        VmDisk { path: "/d/os".into(), gib: 10, image: image.then(|| "/c/i".into()), access }
    }

    /// Nothing if it holds.
    fn verdict(disk: &VmDisk, answers: &[Answer]) -> Vec<String> {
        actions(disk.judge(answers))
    }

    #[test]
    fn a_disk_is_made_or_copied_and_never_touched_again() {
        let missing = || ran(1, "");
        assert_eq!(verdict(&disk(false), &[told(10)]), [""; 0]);
        assert_eq!(verdict(&disk(true), &[told(10), missing()]), [""; 0]);
        let shut = "SetAccess(/d/os, 0600)";
        let created = ["qemu-img create -q -f qcow2 /d/os 10G", shut];
        assert_eq!(verdict(&disk(false), &[missing()]), created);
        let copied = [
            "qemu-img convert -q -f qcow2 -O qcow2 /c/i /d/os",
            "qemu-img resize -q -f qcow2 /d/os 10G",
            shut,
        ];
        assert_eq!(verdict(&disk(true), &[missing(), told(10)]), copied);
        let not_there = ended(End::NotThere, "");
        assert_eq!(verdict(&disk(true), &[not_there.clone(), not_there]), copied);
    }

    #[test]
    fn an_image_that_does_not_fit_or_is_none_is_refused() {
        let missing = || ran(1, "");
        let text = &verdict(&disk(true), &[missing(), told(11)])[0];
        assert_eq!(text, "the disk in /c/i has 11.0 GB, and the machine's is to have 10");
        let backed = "{\"virtual-size\": 33554432, \"format\": \"qcow2\", \
                      \"backing-filename\": \"/etc/shadow\"}";
        let tiny = "{\"virtual-size\": 512, \"format\": \"raw\"}";
        let told = ["{}", backed, tiny].map(|text| ran(0, text));
        for answer in told.into_iter().chain([missing()]) {
            let text = &verdict(&disk(true), &[missing(), answer])[0];
            assert_eq!(text, "/c/i is no image of a disk");
        }
    }

    #[test]
    fn libvirt_is_told_once() {
        let access = Access { owner: None, mode: 0o600 };
        let goal =
            DefinedVm { name: "vm-a".into(), xml: "<x/>".into(), path: "/d/x".into(), access };
        let known = ran(0, " vm-b\n vm-a \n\n");
        assert_eq!(goal.judge(&[known]), StepVerdict::Holds);
        let told = actions(goal.judge(&[ran(0, "vm-ab\n")]));
        assert_eq!(told[1], "virsh --connect qemu:///system define /d/x");
        assert_eq!(told[2], "Remove(/d/x)");
    }
}
