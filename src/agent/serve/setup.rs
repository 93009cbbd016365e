//! What an agent reads before it serves: its id, its keys, what its host is like.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::{Options, ShellOptions};
use crate::agent::Totals;
use crate::agent::attention::Rules;
use crate::agent::config::{Config, RuntimeKind};
use crate::agent::defaults::Defaults;
use crate::agent::docker::description::{Bind, Host, read_only_binds};
use crate::agent::ports_in_use::{self, TABLES};
use crate::agent::uplink::Shell;
use crate::base::address::{Address, Host as AddressHost};
use crate::base::rng::Rng;
use crate::base::uuid::Uuid;
use crate::daemon::error::{ServeError, private_key};
use crate::io::cgroup::Cgroups;
use crate::io::disk::{self, DiskError, Links};
use crate::io::{entropy, machine, notify};
use crate::limits::{
    AGENT_CONF_BYTES_MAX, ATTENTION_CONF_BYTES_MAX, CONFIG_LINE_BYTES_MAX, PORT_TABLE_BYTES_MAX,
    STATUS_PORT,
};
use crate::paths::{
    PRIVATE_STATE_DIR, Paths, SESSION_NETWORK, SESSION_RULES_SIGN, SESSIONS_SLICE, STATE_DIR,
};
use crate::rpc::SSH_USER;
use crate::rpc::agent_id::AgentId;
use crate::rpc::field::Protocol;
use crate::rpc::reserved::HostNames;
use crate::ssh::keys::PublicKey;
use crate::ssh::{ClientConfig, Tuning};

/// The directories that an agent writes to.
///
/// # Errors
/// When one cannot be made.
pub(super) fn prepare(paths: &Paths) -> Result<(), ServeError> {
    for path in [paths.agent_state(), paths.sessions()] {
        disk::make_directories(&path, STATE_DIR.1)?;
    }
    for path in [
        paths.session_records(),
        paths.session_socket_dirs(),
        paths.given_dirs(),
        paths.last_words(),
    ] {
        disk::make_directories(&path, PRIVATE_STATE_DIR.1)?;
    }
    Ok(())
}

/// What the core is told.
///
/// # Errors
/// When this host has not been set up.
pub(super) fn config(options: &Options) -> Result<Config, ServeError> {
    let paths = &options.paths;
    let boot = boot_id(notify::runtime_directory().as_deref())?;
    let rebooted = note_boot(paths, &boot);
    let Defaults { caps, reservation, claude_base_url, .. } = defaults(paths)?;
    Ok(Config {
        agent_id: agent_id(paths)?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        runtime: options.runtime,
        has_uids: options.runtime == RuntimeKind::Docker && machine::may_give_files(),
        image: image(options)?,
        caps,
        memory_reservation: reservation,
        totals: totals(),
        claude_base_url,
        host_names: host_names(shell_address(options)?.as_ref()),
        rebooted,
    })
}

/// Where events go; `None` if nobody has said so, and then they go nowhere.
///
/// # Errors
/// When it was said, and cannot be done.
pub(super) fn shell(options: &Options) -> Result<Option<Shell>, ServeError> {
    let ShellOptions { port, key: key_path, known_host, .. } = &options.shell;
    let Some(mut address) = shell_address(options)? else { return Ok(None) };
    address.port = port.unwrap_or(address.port);
    let pinned = PublicKey::parse_line(&one_line(known_host)?)
        .map_err(|error| ServeError::content(known_host, error))?;
    let config = ClientConfig {
        user: SSH_USER.to_owned(),
        key: private_key(key_path)?,
        host_key: pinned.0,
        tuning: Tuning::default(),
    };
    let (config, key) = (Arc::new(config), key_path.clone());
    Ok(Some(Shell { address, config, key, known_host: known_host.clone() }))
}

/// Where the shell host is, if anybody has said so.
///
/// # Errors
/// When what was said cannot be read.
fn shell_address(options: &Options) -> Result<Option<Address>, ServeError> {
    let file = options.paths.agent_shell_host();
    match (&options.shell.host, one_line(&file)) {
        (Some(host), _) => Ok(Some(host.clone())),
        (None, Ok(line)) => {
            let address = Address::parse_or_port(&line, STATUS_PORT);
            address.map(Some).map_err(|error| ServeError::content(&file, error))
        }
        (None, Err(error)) if error.is_missing() => Ok(None),
        (None, Err(error)) => Err(error.into()),
    }
}

/// The names of this host and the shell host, if that has one.
fn host_names(shell: Option<&Address>) -> HostNames {
    let mut names = HostNames::default();
    names.insert(&machine::host_name());
    if let Some(Address { host: AddressHost::Name(name), .. }) = shell {
        names.insert(name);
    }
    names
}

/// What containers on this host are like.
pub(super) fn docker_host(paths: &Paths) -> Host {
    let binds = present_binds(paths);
    let slice = Paths::default().unit(SESSIONS_SLICE);
    Host {
        paths: paths.clone(),
        uid: machine::uid(),
        gid: machine::gid(),
        binds,
        dns: None,
        cluster_address: None,
        program: std::env::current_exe().ok(),
        network: paths.is_system().then_some(SESSION_NETWORK),
        cgroup_parent: slice.exists().then(|| SESSIONS_SLICE.to_owned()),
        has_syslog: paths.is_system() && Path::new("/dev/log").exists(),
    }
}

/// What sessions get to see of the host, as it is now.
pub(super) fn present_binds(paths: &Paths) -> Vec<Bind> {
    let mut binds = read_only_binds(paths);
    binds.retain(|bind| bind.source.exists());
    binds
}

/// Whether what sessions may reach is bounded now, or this kernel cannot bound it.
pub(super) fn has_rules(host: &Host) -> bool {
    host.network.is_none()
        || !host.paths.session_rules_wanted().exists()
        || machine::drops_towards(SESSION_RULES_SIGN)
}

/// Where containers are accounted for. Wherever an agent's files are, it is the machine's groups.
pub(super) fn cgroups(host: &Host) -> Cgroups {
    Cgroups::new(Paths::default().control_groups(), host.cgroup_parent.as_deref())
}

/// The ports that are in use on this host, as far as the kernel tells.
pub(super) fn ports_in_use() -> Vec<(Protocol, u16)> {
    let mut ports = Vec::new();
    for (path, protocol) in TABLES {
        let table = disk::read_bounded(Path::new(path), PORT_TABLE_BYTES_MAX, Links::Follow);
        let table = table.unwrap_or_default();
        ports_in_use::read(protocol, &String::from_utf8_lossy(&table), &mut ports);
    }
    ports
}

/// Who this agent is. Nothing is made on a host where nobody has said so.
///
/// # Errors
/// When this host has not been set up.
pub(super) fn agent_id(paths: &Paths) -> Result<String, ServeError> {
    let path = paths.agent_id();
    let line = one_line(&path)?;
    let id = AgentId::parse(&line).map_err(|error| ServeError::content(&path, error))?;
    Ok(id.as_str().to_owned())
}

/// The image that new containers use: what the host was told, else the one of this version.
fn image(options: &Options) -> Result<String, ServeError> {
    if options.runtime == RuntimeKind::Host {
        return Ok(String::new());
    }
    match one_line(&options.paths.agent_current_image()) {
        Ok(image) => Ok(image),
        Err(error) if error.is_missing() => Ok(crate::agent::image::tag()),
        Err(error) => Err(error.into()),
    }
}

fn one_line(path: &Path) -> Result<String, DiskError> {
    let bytes = disk::read_bounded(path, CONFIG_LINE_BYTES_MAX, Links::Follow)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Says whether the host has booted since this was last called here. On a full disk it says so
/// once more the next time.
fn note_boot(paths: &Paths, boot: &str) -> bool {
    let path = paths.agent_state().join("boot-id");
    let before = one_line(&path).ok();
    if before.as_deref() != Some(boot) {
        let _ = disk::write_atomic(&path, format!("{boot}\n").as_bytes(), 0o644);
    }
    before.is_some_and(|before| before != boot)
}

/// What tells one boot of this host from another: a number in a directory that every boot makes
/// anew. Without one it is the kernel's, which a host that is a container has in common with its
/// machine, and which then outlives a reboot.
fn boot_id(runtime_directory: Option<&Path>) -> Result<String, DiskError> {
    let Some(directory) = runtime_directory else {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
        return Ok(id.unwrap_or_default().trim().to_owned());
    };
    let path = directory.join("boot-id");
    if let Ok(id) = one_line(&path)
        && !id.is_empty()
    {
        return Ok(id);
    }
    let id = Uuid::random(&mut Rng::from_seed(entropy::seed())).to_string();
    disk::write_atomic(&path, format!("{id}\n").as_bytes(), 0o644)?;
    Ok(id)
}

fn totals() -> Totals {
    Totals { cpu_millis: 1000 * machine::cores() as u64, memory_bytes: machine::memory_bytes() }
}

/// What a session may use if nothing else was said.
///
/// # Errors
/// What is wrong with `agent.conf`.
pub(crate) fn defaults(paths: &Paths) -> Result<Defaults, ServeError> {
    let (path, defaults) = (paths.agent_conf(), Defaults::of_host(totals()));
    match disk::read_bounded(&path, AGENT_CONF_BYTES_MAX, Links::Follow) {
        Ok(bytes) => defaults
            .read(&String::from_utf8_lossy(&bytes))
            .map_err(|error| ServeError::content(&path, error)),
        Err(error) if error.is_missing() => Ok(defaults),
        Err(error) => Err(error.into()),
    }
}

/// What the words of status files mean.
///
/// # Errors
/// What is wrong with `attention.conf`.
pub(crate) fn attention_rules(paths: &Paths) -> Result<Rules, ServeError> {
    let path = paths.attention_conf();
    match disk::read_bounded(&path, ATTENTION_CONF_BYTES_MAX, Links::Follow) {
        Ok(bytes) => Rules::read(&String::from_utf8_lossy(&bytes))
            .map_err(|error| ServeError::content(&path, error)),
        Err(error) if error.is_missing() => Ok(Rules::default()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::scratch::Scratch;

    #[test]
    fn a_boot_has_one_id_until_its_directory_is_made_anew() {
        let scratch = Scratch::new();
        let ids = [1, 2].map(|_| boot_id(Some(scratch.path())).unwrap());
        assert_eq!(ids[0], ids[1]);
        fs::remove_file(scratch.join("boot-id")).unwrap();
        assert_ne!(boot_id(Some(scratch.path())).unwrap(), ids[0]);
        assert!(boot_id(Some(Path::new("/no/such"))).is_err());
        assert_eq!(boot_id(None).unwrap(), boot_id(None).unwrap());
    }
}
