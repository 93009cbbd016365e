//! Every path on disk, with its owner and mode, under a root that can be moved.
//!
//! The root is `/` on an installed host. `--root DIR` puts everything below DIR, so that an
//! ordinary user, a test or the demo has a whole cluster in one directory.

mod agent_entry;
mod log_authority;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

pub use self::agent_entry::AgentEntry;
pub use self::log_authority::LogAuthority;

use crate::base::uuid::Uuid;

/// Who owns a path on an installed host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// `root:root`
    Root,
    /// `root:claude`: the service reads, and cannot change
    RootClaude,
    /// `claude:claude`
    Claude,
}

/// Directories that hold configuration and keys: root writes, the services look inside.
pub(crate) const CONFIG_DIR: (Owner, u32) = (Owner::RootClaude, 0o750);
/// A private key that a service must read.
pub(crate) const SERVICE_KEY: (Owner, u32) = (Owner::RootClaude, 0o640);
/// A private key that only root reads, and every key of an ordinary user's own root.
pub(crate) const PRIVATE_KEY: (Owner, u32) = (Owner::Root, 0o600);
/// What anyone may read: public keys, ids, names.
pub(crate) const PUBLIC_FILE: (Owner, u32) = (Owner::Root, 0o644);
/// What the services keep for themselves.
pub(crate) const STATE_DIR: (Owner, u32) = (Owner::Claude, 0o750);
/// What a service keeps for itself alone: events on their way.
pub(crate) const PRIVATE_STATE_DIR: (Owner, u32) = (Owner::Claude, 0o700);
/// What a service keeps and another user's program reads: the names of sessions, for dnsmasq.
pub(crate) const SHARED_STATE_DIR: (Owner, u32) = (Owner::Claude, 0o755);
/// Where the status socket is.
pub(crate) const RUN_DIR: (Owner, u32) = (Owner::Claude, 0o750);
/// The mode of the status socket: the group may listen.
pub(crate) const STATUS_SOCKET_MODE: u32 = 0o660;
/// The mode of what a session is given to read; it belongs to the session.
pub(crate) const GIVEN_FILE_MODE: u32 = 0o400;
pub(crate) const SESSION_FILE: (Owner, u32) = (Owner::Claude, 0o600);
/// Where the Docker Engine of a host listens.
pub(crate) const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// A session's home directory.
pub(crate) const SESSION_DIR: (Owner, u32) = (Owner::Claude, 0o700);

/// The user and the group that the services run as on an installed host.
pub(crate) const SERVICE_USER: &str = "claude";
/// The number of both.
pub(crate) const SERVICE_USER_ID: u32 = 1337;
pub(crate) const AGENT_UNIT: &str = "convocate-agent.service";
/// The units that put a renewed certificate in its place on an agent's host, the trigger first.
pub(crate) const CERTIFICATE_UNITS: [&str; 2] =
    ["convocate-certificate.path", "convocate-certificate.service"];
/// The units that renew certificates from the shell host, the trigger first.
pub(crate) const RENEWAL_UNITS: [&str; 2] =
    ["convocate-renewal.timer", "convocate-renewal.service"];
pub(crate) const STATUS_UNIT: &str = "convocate-status.service";
/// The slice above that of all sessions.
pub(crate) const CONVOCATE_SLICE: &str = "convocate.slice";
pub(crate) const SESSIONS_SLICE: &str = "convocate-sessions.slice";
/// The units that keep sessions from this host and its networks: the rules; what adds the
/// resolvers of this host to them; its trigger.
pub(crate) const NETWORK_UNITS: [&str; 3] =
    ["convocate-network.service", "convocate-resolvers.service", "convocate-resolvers.path"];
/// The Docker network of sessions.
pub(crate) const SESSION_NETWORK: &str = "convocate";
/// Its bridge.
pub(crate) const SESSION_BRIDGE: &str = "convocate0";
/// Its addresses. A bridge takes about a thousand containers.
pub(crate) const SESSION_SUBNET: &str = "10.219.76.0/22";
/// A loopback address and port of nobody's, to which the rules for sessions let nothing out: by it
/// is seen whether they are loaded.
pub(crate) const SESSION_RULES_SIGN: SocketAddrV4 =
    SocketAddrV4::new(Ipv4Addr::new(127, 219, 76, 1), 9);

/// How the name of an unfinished home begins.
pub(crate) const DRAFT_PREFIX: &str = ".new-";
/// How the name of a deleted session's home begins, until it is erased.
pub(crate) const REMAINS_PREFIX: &str = ".deleted-";
/// How the name of a home begins that comes from another host, until it is whole.
pub(crate) const ARRIVAL_PREFIX: &str = ".arriving-";
/// How the name of a receipt for such a home begins.
pub(crate) const RECEIPT_PREFIX: &str = ".arrived-";
/// How the name of a lock ends.
pub(crate) const LOCK_SUFFIX: &str = ".lock";
/// How the name of a session's record ends.
pub(crate) const RECORD_SUFFIX: &str = ".json";
/// How the name of a session's private key ends.
pub(crate) const KEY_SUFFIX: &str = ".key";

/// All paths below one root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    root: PathBuf,
}

impl Default for Paths {
    fn default() -> Paths {
        Paths::below("/")
    }
}

impl Paths {
    pub fn below(root: impl Into<PathBuf>) -> Paths {
        Paths { root: root.into() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether this is an installed host's own root.
    pub(crate) fn is_system(&self) -> bool {
        self.root == Path::new("/")
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    // --- the system ---

    /// One of our programs (root, 0755).
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.at("usr/local/bin").join(name)
    }

    /// The version of a program that was there before an update (root, 0755).
    pub(crate) fn program_before(&self, name: &str) -> PathBuf {
        self.at("usr/local/bin").join(format!("{name}.previous"))
    }

    /// A unit of systemd ([`PUBLIC_FILE`]).
    pub(crate) fn unit(&self, name: &str) -> PathBuf {
        self.at("etc/systemd/system").join(name)
    }

    /// The bound of all virtual machines of a hypervisor together.
    pub(crate) fn machines_bound(&self) -> PathBuf {
        self.unit("machine.slice.d/50-convocate.conf")
    }

    /// What sessions may reach, for nft(8).
    pub(crate) fn session_rules(&self) -> PathBuf {
        self.agent_config().join("sessions.nft")
    }

    /// There while the rules of [`NETWORK_UNITS`] are to be loaded at each boot: not where the
    /// kernel takes none.
    pub(crate) fn session_rules_wanted(&self) -> PathBuf {
        self.unit("multi-user.target.wants").join(NETWORK_UNITS[0])
    }

    /// When a timer of systemd was last due, as systemd keeps it.
    pub(crate) fn timer_stamp(&self, name: &str) -> PathBuf {
        self.at("var/lib/systemd/timers").join(format!("stamp-{name}"))
    }

    /// Raises what the kernel grants each user of file watches ([`PUBLIC_FILE`]). The first by its
    /// name: any other file that says more is read after it.
    pub(crate) fn watch_limits(&self) -> PathBuf {
        self.at("etc/sysctl.d/00-convocate.conf")
    }

    /// Removes old session images, once a day (root, 0755).
    pub(crate) fn image_prune(&self) -> PathBuf {
        self.at("etc/cron.daily/convocate-image-prune")
    }

    /// Which programs are login shells (root, 0644). Most of it is others'.
    pub(crate) fn login_shells(&self) -> PathBuf {
        self.at("etc/shells")
    }

    /// Tells dnsmasq where the names of sessions are ([`PUBLIC_FILE`]).
    pub(crate) fn dnsmasq_drop_in(&self) -> PathBuf {
        self.at("etc/dnsmasq.d/10-convocate.conf")
    }

    /// The operator's own sources of the session image, if there are any.
    pub(crate) fn image_sources(&self) -> PathBuf {
        self.shell_config().join("image")
    }

    // --- the agent ---

    /// Configuration and keys of the agent ([`CONFIG_DIR`]).
    pub(crate) fn agent_config(&self) -> PathBuf {
        self.at("etc/convocate-agent")
    }

    /// What the operator has chosen for this host's sessions ([`PUBLIC_FILE`]).
    pub(crate) fn agent_conf(&self) -> PathBuf {
        self.agent_config().join("agent.conf")
    }

    /// What the operator has chosen for what programs in sessions tell ([`PUBLIC_FILE`]).
    pub(crate) fn attention_conf(&self) -> PathBuf {
        self.agent_config().join("attention.conf")
    }

    /// This agent's id, one line ([`PUBLIC_FILE`]).
    pub fn agent_id(&self) -> PathBuf {
        self.agent_config().join("agent-id")
    }

    /// The host key of tcp/222 ([`SERVICE_KEY`]).
    pub fn agent_host_key(&self) -> PathBuf {
        self.agent_config().join("host_ed25519_key")
    }

    /// Who may drive this agent ([`PUBLIC_FILE`]).
    pub fn agent_authorized_keys(&self) -> PathBuf {
        self.agent_config().join("authorized_keys")
    }

    /// The key that the agent dials the shell host with ([`SERVICE_KEY`]).
    pub fn agent_shell_key(&self) -> PathBuf {
        self.agent_config().join("agent_to_shell_ed25519_key")
    }

    /// The shell host's pinned host key ([`PUBLIC_FILE`]).
    pub fn agent_shell_known_host(&self) -> PathBuf {
        self.agent_config().join("shell_host_key.pub")
    }

    /// The shell host's name, one line ([`PUBLIC_FILE`]).
    pub fn agent_shell_host(&self) -> PathBuf {
        self.agent_config().join("shell-host")
    }

    /// How sessions of this host log in to Claude, one line ([`SESSION_FILE`]).
    pub(crate) fn agent_claude_login(&self) -> PathBuf {
        self.agent_config().join("claude-token")
    }

    /// The SHA-256 of the Claude CLI that we have put there, for the removal ([`PUBLIC_FILE`]).
    pub(crate) fn agent_claude_mark(&self) -> PathBuf {
        self.agent_config().join("claude-sha256")
    }

    /// The Claude CLI of this host's sessions, or a link to it.
    pub(crate) fn claude(&self) -> PathBuf {
        self.program("claude")
    }

    /// The image that new containers use, one line ([`PUBLIC_FILE`]).
    pub(crate) fn agent_current_image(&self) -> PathBuf {
        self.agent_config().join("current-image")
    }

    /// The key and the certificates with which the agent sends its logs.
    pub fn agent_tls(&self) -> AgentTls {
        AgentTls { dir: self.agent_config().join("rsyslog-tls") }
    }

    /// The agent's rsyslog configuration; it holds a secret ([`PRIVATE_KEY`]).
    pub fn rsyslog_forward(&self) -> PathBuf {
        self.at("etc/rsyslog.d/10-convocate-client.conf")
    }

    pub fn rsyslog_spool(&self) -> PathBuf {
        self.at("var/spool/rsyslog")
    }

    /// The agent's own state: its event spool ([`STATE_DIR`]).
    pub fn agent_state(&self) -> PathBuf {
        self.at("var/lib/convocate-agent")
    }

    /// A certificate that the shell host has sent, until root has looked at it.
    pub(crate) fn agent_renewed_certificate(&self) -> PathBuf {
        self.agent_state().join("renewed.crt")
    }

    /// Events that the shell host does not have yet ([`PRIVATE_STATE_DIR`]).
    pub(crate) fn agent_spool(&self) -> PathBuf {
        self.agent_state().join("spool")
    }

    pub fn control_groups(&self) -> PathBuf {
        self.at("sys/fs/cgroup")
    }

    /// What sessions of the `host` runtime leave at their end, a file each ([`PRIVATE_STATE_DIR`]).
    pub(crate) fn last_words(&self) -> PathBuf {
        self.agent_state().join("last-words")
    }

    /// The exit status and the last screen of a session of the `host` runtime.
    pub(crate) fn session_last_words(&self, id: Uuid) -> PathBuf {
        self.last_words().join(id.to_string())
    }

    /// The tmux configuration of the `host` runtime.
    pub(crate) fn tmux_conf(&self) -> PathBuf {
        self.agent_state().join("tmux.conf")
    }

    /// Where the agent that runs under this root listens, one line ([`PUBLIC_FILE`]).
    pub(crate) fn agent_address(&self) -> PathBuf {
        self.agent_state().join("address")
    }

    /// From where keys were proven to the agent.
    pub(crate) fn agent_known_sources(&self) -> PathBuf {
        self.agent_state().join("known-sources")
    }

    /// Held while an agent runs under this root, so that there is never a second one.
    pub(crate) fn agent_lock(&self) -> PathBuf {
        self.agent_state().join("agent.lock")
    }

    // --- any host ---

    /// Which addresses dnsmasq takes ([`PUBLIC_FILE`]).
    pub(crate) fn dnsmasq_binding(&self) -> PathBuf {
        self.at("etc/dnsmasq.d/00-convocate-binding.conf")
    }

    // --- sessions ---

    pub fn sessions(&self) -> PathBuf {
        self.at("home/claude")
    }

    /// A session's home ([`SESSION_DIR`]).
    pub fn session(&self, id: Uuid) -> PathBuf {
        self.sessions().join(id.to_string())
    }

    /// Where a session's home is made before it is whole. Not a UUID, so never listed.
    pub(crate) fn session_draft(&self, id: Uuid) -> PathBuf {
        self.sessions().join(format!("{DRAFT_PREFIX}{id}"))
    }

    /// Where a deleted session's home is until it is erased. Not a UUID, so never listed.
    pub(crate) fn session_remains(&self, id: Uuid) -> PathBuf {
        self.sessions().join(format!("{REMAINS_PREFIX}{id}"))
    }

    /// Where a home that comes from another host is made. Not a UUID, so never listed. Each try has
    /// a number of its own.
    pub(crate) fn session_arrival(&self, id: Uuid, number: u64) -> PathBuf {
        self.sessions().join(format!("{ARRIVAL_PREFIX}{id}-{number:016x}"))
    }

    /// The hash of a home that came from another host, while it may lie there, too
    /// ([`PRIVATE_KEY`]).
    pub(crate) fn session_receipt(&self, id: Uuid) -> PathBuf {
        self.sessions().join(format!("{RECEIPT_PREFIX}{id}"))
    }

    /// What the agent knows of its sessions ([`PRIVATE_STATE_DIR`]). Only it writes there.
    pub fn session_records(&self) -> PathBuf {
        self.agent_state().join("sessions")
    }

    /// A session's record ([`SESSION_FILE`]).
    pub fn session_record(&self, id: Uuid) -> PathBuf {
        self.session_records().join(format!("{id}{RECORD_SUFFIX}"))
    }

    /// The private half of a session's git key ([`SESSION_FILE`]).
    pub(crate) fn session_key(&self, id: Uuid) -> PathBuf {
        self.session_records().join(format!("{id}{KEY_SUFFIX}"))
    }

    pub(crate) fn session_socket_dirs(&self) -> PathBuf {
        self.agent_state().join("sockets")
    }

    /// The directory that a session sees ([`SHARED_STATE_DIR`]). It stays for as long as the
    /// session is there: a container may be started again before any agent runs.
    pub(crate) fn session_socket_dir(&self, id: Uuid) -> PathBuf {
        self.session_socket_dirs().join(id.to_string())
    }

    /// Files that sessions are given at their start ([`PRIVATE_STATE_DIR`]).
    pub(crate) fn given_dirs(&self) -> PathBuf {
        self.agent_state().join("given")
    }

    /// What a session finds in `/etc/claude-code`: its own, and nobody else's. It stays for as long
    /// as the session is there, as [`Paths::session_socket_dir`] does.
    pub(crate) fn session_given_dir(&self, id: Uuid) -> PathBuf {
        self.given_dirs().join(id.to_string())
    }

    /// What an earlier version kept of a session, in its home. The session may write it: it is a
    /// proposal and nothing more.
    pub(crate) fn session_proposal(&self, id: Uuid) -> PathBuf {
        self.session(id).join("session.json")
    }

    /// Present while an operation on the session is in flight ([`SESSION_FILE`]).
    pub(crate) fn session_lock(&self, id: Uuid) -> PathBuf {
        self.sessions().join(format!("{id}{LOCK_SUFFIX}"))
    }

    /// What a new home is a copy of.
    pub fn skeleton(&self) -> PathBuf {
        self.sessions().join(".skel")
    }

    // --- the shell host ---

    /// Configuration and keys of the shell host ([`CONFIG_DIR`]).
    pub(crate) fn shell_config(&self) -> PathBuf {
        self.at("etc/convocate")
    }

    /// The operator's profiles, a file each.
    pub fn profiles(&self) -> PathBuf {
        self.shell_config().join("profiles")
    }

    /// The operator's command that is run when a session's attention changes.
    pub(crate) fn on_attention(&self) -> PathBuf {
        self.shell_config().join("on-attention")
    }

    /// One directory per known agent ([`CONFIG_DIR`]).
    pub fn agent_keys(&self) -> PathBuf {
        self.shell_config().join("agent-keys")
    }

    /// The files of one agent. `id` has been checked to be an agent id.
    pub fn agent_entry(&self, id: &str) -> AgentEntry {
        AgentEntry { dir: self.agent_keys().join(id) }
    }

    /// The host key of tcp/223 ([`SERVICE_KEY`]).
    pub fn status_host_key(&self) -> PathBuf {
        self.shell_config().join("status_host_ed25519_key")
    }

    /// Which agents may push events ([`PUBLIC_FILE`]).
    pub fn status_authorized_keys(&self) -> PathBuf {
        self.shell_config().join("status_authorized_keys")
    }

    /// The authority that issues the certificates for logs, and the collector's.
    pub fn log_authority(&self) -> LogAuthority {
        LogAuthority { dir: self.shell_config().join("rsyslog-ca") }
    }

    /// Which agents send logs, by their secrets ([`PRIVATE_KEY`]).
    pub fn log_agents(&self) -> PathBuf {
        self.shell_config().join("rsyslog-agents.json")
    }

    /// The shell host's rsyslog configuration ([`PUBLIC_FILE`]).
    pub fn rsyslog_collector(&self) -> PathBuf {
        self.at("etc/rsyslog.d/10-convocate-server.conf")
    }

    /// What AppArmor lets rsyslogd read of the shell host's files ([`PUBLIC_FILE`]).
    pub(crate) fn rsyslog_shell_confinement(&self) -> PathBuf {
        self.rsyslog_confinements().join("convocate-server")
    }

    /// What AppArmor lets rsyslogd read of the agent's files ([`PUBLIC_FILE`]).
    pub(crate) fn rsyslog_agent_confinement(&self) -> PathBuf {
        self.rsyslog_confinements().join("convocate-client")
    }

    /// Where the profile of rsyslogd takes pieces of others from, on Ubuntu.
    pub(crate) fn rsyslog_confinements(&self) -> PathBuf {
        self.at("etc/apparmor.d/rsyslog.d")
    }

    pub(crate) fn rsyslog_settings(&self) -> PathBuf {
        self.at("etc/rsyslog.conf")
    }

    /// The shell host's logrotate configuration ([`PUBLIC_FILE`]).
    pub fn logrotate(&self) -> PathBuf {
        self.at("etc/logrotate.d/convocate-agent-logs")
    }

    /// The collected logs, one file for each agent.
    pub fn agent_logs(&self) -> PathBuf {
        self.at("var/log/convocate-agent")
    }

    /// The hub's state, and what it writes for dnsmasq ([`SHARED_STATE_DIR`]).
    pub fn shell_state(&self) -> PathBuf {
        self.at("var/lib/convocate")
    }

    /// What the hub knows, as a log ([`PRIVATE_STATE_DIR`]).
    pub(crate) fn status_journal(&self) -> PathBuf {
        self.shell_state().join("journal")
    }

    /// From where keys were proven to the status listener.
    pub(crate) fn status_known_sources(&self) -> PathBuf {
        self.status_journal().join("known-sources")
    }

    /// Held while a status listener runs under this root, so that there is never a second one.
    pub(crate) fn status_lock(&self) -> PathBuf {
        self.status_journal().join("lock")
    }

    /// Where the status listener that runs under this root listens, one line ([`PUBLIC_FILE`]).
    pub(crate) fn status_address(&self) -> PathBuf {
        self.at("run/convocate/status.address")
    }

    /// Held by whoever changes this machine, so that the next one finds what is done.
    pub(crate) fn changes_lock(&self) -> PathBuf {
        self.at("run/convocate-changes.lock")
    }

    pub fn dns_hosts(&self) -> PathBuf {
        self.shell_state().join("dnsmasq-hosts")
    }

    /// Where the hub serves snapshot and stream.
    pub fn status_socket(&self) -> PathBuf {
        self.at("run/convocate/status.sock")
    }
}

/// The files with which an agent proves itself to the collector of logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentTls {
    dir: PathBuf,
}

impl AgentTls {
    /// The directory ([`CONFIG_DIR`]).
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The authorities that it trusts ([`PUBLIC_FILE`]).
    pub fn authorities(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// Its certificate ([`PUBLIC_FILE`]).
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("client.crt")
    }

    /// Its key ([`PRIVATE_KEY`]).
    pub fn key(&self) -> PathBuf {
        self.dir.join("client.key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_below_the_root() {
        let paths = Paths::below("/tmp/x");
        let id = Uuid::parse("01234567-89ab-4def-8123-456789abcdef").expect("a UUID");
        for path in [
            paths.agent_host_key(),
            paths.session_record(id),
            paths.session_lock(id),
            paths.agent_entry("abcdefghjkmn").host_key(),
            paths.status_socket(),
            paths.dns_hosts(),
        ] {
            assert!(path.starts_with("/tmp/x"), "{}", path.display());
        }
        assert_eq!(Paths::default().agent_id(), Path::new("/etc/convocate-agent/agent-id"));
    }
}
