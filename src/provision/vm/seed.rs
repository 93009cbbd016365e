//! What cloud-init is told at a machine's first boot, and where the machine's data goes.
//!
//! `user-data` is JSON, which YAML takes as it is: nothing is escaped by hand. The seed has the
//! machine's SSH host key, so that the first contact is already pinned; when the machine has
//! taken it, [`disk`] without the key takes the place of the one that had it.

use std::fmt;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::provision::vm::domain::DATA_SERIAL;
use crate::provision::vm::iso;
use crate::provision::vm::machine::Machine;

/// What the disk of NoCloud is called.
const VOLUME: &str = "cidata";

/// Moves `/var` to its own disk, before any service has begun: cloud-init runs it with the disk's
/// device and the new file system's UUID, at each boot. Whatever is on the disk already stays.
const MOVE_VAR: &str = include_str!("move-var.sh");

/// The SSH host key that a machine is given.
pub(crate) struct HostKey {
    pub(crate) private: Zeroizing<String>,
    pub(crate) public: String,
}

/// The private half is not shown.
impl fmt::Debug for HostKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "HostKey({})", self.public)
    }
}

/// The disk that is read at the first boot. Without a host key: the same for every later one.
pub(crate) fn disk(
    machine: &Machine,
    keys: &[String],
    host_key: Option<&HostKey>,
) -> Zeroizing<Vec<u8>> {
    let user_data = user_data(machine, keys, host_key);
    let meta_data = meta_data(machine);
    iso::image(VOLUME, &[("meta-data", meta_data.as_bytes()), ("user-data", user_data.as_bytes())])
}

fn meta_data(machine: &Machine) -> String {
    let id = machine.id.to_string();
    json!({ "instance-id": id, "local-hostname": machine.name.as_str() }).to_string()
}

fn user_data(machine: &Machine, keys: &[String], host_key: Option<&HostKey>) -> Zeroizing<String> {
    let user = machine.user.as_str();
    let device = format!("/dev/disk/by-id/virtio-{DATA_SERIAL}");
    let mut told = json!({
        "hostname": machine.name.as_str(),
        "fqdn": machine.host_name(),
        "prefer_fqdn_over_hostname": false,
        "manage_etc_hosts": "localhost",
        "users": [account(user, keys)],
        "disable_root": user != "root",
        "ssh_pwauth": false,
        "ssh_deletekeys": true,
        "bootcmd": [["sh", "-c", MOVE_VAR, "move-var", device, machine.var_id.to_string()]],
    });
    if let Some(key) = host_key {
        told["ssh_keys"] =
            json!({ "ed25519_private": key.private.as_str(), "ed25519_public": key.public });
    }
    let text = Zeroizing::new(told.to_string());
    wipe(told);
    Zeroizing::new(format!("#cloud-config\n{}\n", text.as_str()))
}

/// No password is set, and none is taken.
fn account(user: &str, keys: &[String]) -> Value {
    let mut account = json!({ "name": user, "lock_passwd": true, "ssh_authorized_keys": keys });
    if user != "root" {
        account["shell"] = json!("/bin/bash");
        account["sudo"] = json!("ALL=(ALL) NOPASSWD:ALL");
    }
    account
}

/// The private key is in it.
fn wipe(mut value: Value) {
    if let Some(Value::String(text)) = value.pointer_mut("/ssh_keys/ed25519_private") {
        zeroize::Zeroize::zeroize(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::vm::machine::tests::{machine, spec};

    fn key() -> HostKey {
        let private = Zeroizing::new("-----BEGIN\nsecret\n-----END\n".to_owned());
        HostKey { private, public: "ssh-ed25519 AAAA x".to_owned() }
    }

    fn told(host_key: Option<&HostKey>) -> Value {
        let text = user_data(&machine(1), &spec().keys, host_key);
        serde_json::from_str(text.strip_prefix("#cloud-config\n").unwrap()).unwrap()
    }

    #[test]
    fn the_machine_is_told_who_it_is_and_who_may_come_in() {
        let (told, machine) = (told(Some(&key())), machine(1));
        assert_eq!(told["fqdn"], machine.host_name());
        assert_eq!(told["ssh_pwauth"], false);
        assert_eq!(told["users"][0]["name"], "ann");
        assert_eq!(told["users"][0]["lock_passwd"], true);
        // As it is, with all quotes.
        assert_eq!(told["users"][0]["ssh_authorized_keys"][0], spec().keys[0]);
        assert_eq!(told["ssh_keys"]["ed25519_private"], key().private.as_str());
        assert_eq!(told["disable_root"], true);
        let call = told["bootcmd"][0].as_array().unwrap();
        assert_eq!(call[4], "/dev/disk/by-id/virtio-convocate-var");
        assert_eq!(call[5], machine.var_id.to_string());
    }

    #[test]
    fn a_later_seed_is_of_the_same_machine_and_has_no_secret() {
        let (mut first, later) = (told(Some(&key())), told(None));
        first.as_object_mut().unwrap().remove("ssh_keys");
        assert_eq!(first, later);
        let has_secret = |key: Option<&HostKey>| {
            let disk = disk(&machine(1), &spec().keys, key);
            disk.windows(6).any(|it| it == b"secret")
        };
        assert!(has_secret(Some(&key())) && !has_secret(None));
        assert!(meta_data(&machine(1)).contains(&machine(1).id.to_string()));
    }

    #[test]
    fn the_disk_of_virtio_is_found_by_its_serial() {
        // virtio cuts it there.
        assert!(DATA_SERIAL.len() <= 20);
    }
}
