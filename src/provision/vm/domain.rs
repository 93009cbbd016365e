//! A machine as libvirt is told of it (libvirt's "Domain XML format").
//!
//! All disks are virtio, the seed's, too: kernels for clouds have nothing else. What the machine
//! says on its serial line goes to a file, which is where to look when it does not come up.

use std::fmt::Write;
use std::path::Path;

use crate::provision::vm::machine::Machine;

/// How its instructions are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Virtualisation {
    /// By the processor.
    Kvm,
    /// By QEMU, some twenty times slower.
    Emulated,
}

/// The serial number of its disk for `/var`, by which it finds that among its disks.
pub(crate) const DATA_SERIAL: &str = "convocate-var";

pub(crate) fn xml(machine: &Machine, virtualisation: Virtualisation) -> String {
    let (kind, processor) = match virtualisation {
        Virtualisation::Kvm => ("kvm", "  <cpu mode='host-passthrough'/>\n"),
        Virtualisation::Emulated => ("qemu", ""),
    };
    let mut text = format!("<domain type='{kind}'>\n");
    let mut line = |tag: &str, value: &str| {
        writeln!(text, "  <{tag}>{}</{tag}>", escaped(value)).expect("memory takes all");
    };
    line("name", machine.name.as_str());
    line("uuid", &machine.id.to_string());
    line("title", &machine.host_name());
    line("description", "Made by convocate-host create-vm");
    text.push_str(&format!(
        "  <memory unit='MiB'>{}</memory>\n  <vcpu>{}</vcpu>\n",
        machine.size.memory_mib, machine.size.cpus
    ));
    text.push_str("  <os><type arch='x86_64' machine='q35'>hvm</type><boot dev='hd'/></os>\n");
    text.push_str("  <features><acpi/><apic/></features>\n");
    text.push_str(processor);
    text.push_str(
        "  <clock offset='utc'/>\n  <on_poweroff>destroy</on_poweroff>\n  \
         <on_reboot>restart</on_reboot>\n  <on_crash>restart</on_crash>\n  <devices>\n",
    );
    text.push_str(&disk(&machine.os_disk(), "qcow2", "vda", "convocate-os"));
    text.push_str(&disk(&machine.data_disk(), "qcow2", "vdb", DATA_SERIAL));
    text.push_str(&disk(&machine.seed(), "raw", "vdc", "convocate-seed"));
    text.push_str(&format!(
        "    <interface type='network'>\n      <mac address='{}'/>\n      \
         <source network='default'/>\n      <model type='virtio'/>\n    </interface>\n",
        machine.mac
    ));
    text.push_str(&format!(
        "    <serial type='pty'>\n      <log file='{}' append='on'/>\n      \
         <target port='0'/>\n    </serial>\n    \
         <console type='pty'><target type='serial' port='0'/></console>\n",
        escaped(&machine.console().display().to_string())
    ));
    text.push_str(
        "    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>\n  \
         </devices>\n</domain>\n",
    );
    text
}

fn disk(path: &Path, format: &str, target: &str, serial: &str) -> String {
    let read_only = if format == "raw" { "      <readonly/>\n" } else { "" };
    format!(
        "    <disk type='file' device='disk'>\n      <driver name='qemu' type='{format}'/>\n      \
         <source file='{}'/>\n      <target dev='{target}' bus='virtio'/>\n{read_only}      \
         <serial>{serial}</serial>\n    </disk>\n",
        escaped(&path.display().to_string())
    )
}

/// Text as it stands in an element or in an attribute between either quotes (XML 1.0 §2.4).
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '\'' => safe.push_str("&apos;"),
            '"' => safe.push_str("&quot;"),
            sign => safe.push(sign),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::vm::machine::tests::machine;

    #[test]
    fn libvirt_is_told_all_of_it() {
        let machine = machine(1);
        let text = xml(&machine, Virtualisation::Kvm);
        let dir = format!("/var/lib/libvirt/images/convocate/{}", machine.name);
        for part in [
            "<domain type='kvm'>\n".to_owned(),
            format!("<name>{}</name>", machine.name),
            "<memory unit='MiB'>2048</memory>\n  <vcpu>2</vcpu>".to_owned(),
            "<cpu mode='host-passthrough'/>".to_owned(),
            format!("<source file='{dir}/os.qcow2'/>\n      <target dev='vda' bus='virtio'/>"),
            format!("<source file='{dir}/data.qcow2'/>\n      <target dev='vdb' bus='virtio'/>"),
            format!("<mac address='{}'/>", machine.mac),
            format!("<log file='{dir}/console.log' append='on'/>"),
        ] {
            assert!(text.contains(&part), "{part} is not in\n{text}");
        }
        let emulated = xml(&machine, Virtualisation::Emulated);
        assert!(emulated.starts_with("<domain type='qemu'>") && !emulated.contains("<cpu "));
        // The seed alone is not for writing.
        let (_, behind) = text.split_once("<readonly/>").unwrap();
        assert!(behind.contains("convocate-seed") && !behind.contains("<readonly/>"));
    }

    #[test]
    fn every_element_is_closed() {
        let text = xml(&machine(1), Virtualisation::Kvm);
        let mut open = Vec::new();
        for tag in text.split('<').skip(1).map(|part| part.split('>').next().unwrap()) {
            let name = tag.split([' ', '/']).find(|word| !word.is_empty()).unwrap();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name), "{text}");
            } else if !tag.ends_with('/') {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn no_text_ends_its_element() {
        assert_eq!(escaped("a<b>&'\"c"), "a&lt;b&gt;&amp;&apos;&quot;c");
    }
}
