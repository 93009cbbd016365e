//! A session's container: from a plan to the JSON that creates it, and back from its labels.
//!
//! What the agent wants to know of a container later is in its labels, because a list of containers
//! has labels and not limits: so one request tells all about all sessions.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::agent::claude_settings::SETTINGS_DIR;
use crate::agent::environment::{
    HANDOVER_SOCKET, SESSION_ENV, SESSION_SOCKET, SSH_CONFIG, proxy_env,
};
use crate::agent::startup;
use crate::agent::work::{Running, StartPlan};
use crate::base::time::Wall;
use crate::base::uuid::Uuid;
use crate::limits::{
    DOCKER_LOG_FILE_MIB, SCROLLBACK_LINE_CAP_BYTES, SCROLLBACK_LINES_MAX, SESSION_LOCKED_BYTES_MAX,
    SESSION_MESSAGE_QUEUE_BYTES_MAX, SESSION_OOM_SCORE_ADJUST, SESSION_OPEN_FILES_MAX,
    SESSION_RUN_BYTES, SESSION_RUN_FILES, SESSION_SHM_BYTES, SESSION_STOP_GRACE,
};
use crate::paths::{DOCKER_SOCKET, Paths};
use crate::rpc::field::{Caps, Cpus};
use crate::rpc::network::{Egress, Publish};

/// The label that makes a container a session's; its value is the id.
pub(crate) const LABEL_SESSION: &str = "convocate.session";
/// Below which root its agent's files are: one engine may have the sessions of several.
pub(crate) const LABEL_ROOT: &str = "convocate.root";
const LABEL_IMAGE: &str = "convocate.image";
const LABEL_MEMORY: &str = "convocate.memory";
const LABEL_CPUS: &str = "convocate.cpu-millis";
const LABEL_PIDS: &str = "convocate.pids";
const LABEL_UID: &str = "convocate.uid";
/// What it reaches, where that is neither everything nor nothing.
const LABEL_EGRESS: &str = "convocate.egress";

/// A directory that everybody writes to, inside.
const RUN: &str = "/run/convocate";
/// A session's home, inside.
pub(super) const HOME: &str = "/home/claude";
/// The directory of its sockets, inside.
const SOCKET_DIR: &str = "/run/convocate/agent";
/// Our own program, inside.
const PROGRAM: &str = "/run/convocate/convocate-agent";

/// What the driver found on this host that containers depend on.
#[derive(Clone, Debug, Default)]
pub struct Host {
    pub paths: Paths,
    /// Whom sessions run as that have no user of their own: this process's user.
    pub uid: u32,
    pub gid: u32,
    /// Those of [`read_only_binds`] whose source is there.
    pub binds: Vec<Bind>,
    /// The address of the resolver that sessions use; the Engine's own choice if there is none.
    pub dns: Option<String>,
    /// The Docker network that containers are on; the Engine's default if there is none.
    pub network: Option<&'static str>,
    /// The address from which this host reaches its shell host, if that is known.
    pub cluster_address: Option<IpAddr>,
    /// The slice of all sessions, if it is there: `convocate-sessions.slice` where the Engine
    /// leaves control groups to systemd.
    pub cgroup_parent: Option<String>,
    /// This agent's own program, which opens the network of a session that reaches names alone.
    pub program: Option<PathBuf>,
    /// Whether the host takes messages on `/dev/log`.
    pub has_syslog: bool,
}

/// Something of the host that a session sees and cannot change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    pub(crate) source: PathBuf,
    pub(crate) target: &'static str,
}

impl Host {
    /// User `claude` of a container, as numbers: its entrypoint gives the name its numbers, and a
    /// process may be asked for before that.
    pub(crate) fn user(&self, uid: Option<u32>) -> String {
        let (uid, gid) = self.ids(uid);
        format!("{uid}:{gid}")
    }

    fn ids(&self, uid: Option<u32>) -> (u32, u32) {
        uid.map_or((self.uid, self.gid), |uid| (uid, uid))
    }
}

/// What sessions get to see of the host, as far as it is there: a program, and no key, no login
/// and no configuration of anybody.
pub fn read_only_binds(paths: &Paths) -> Vec<Bind> {
    vec![Bind { source: paths.claude(), target: "/usr/local/bin/claude" }]
}

/// The name of a session's container.
pub fn container_name(id: Uuid) -> String {
    format!("convocate-session-{id}")
}

/// The container of a session that is about to start.
///
/// The command is the entrypoint's argument and nobody's shell text until the session's own shell
/// reads it. The Engine starts the container again after a restart of the host or of itself; the
/// agent cancels that when the command ends by itself ([`super::runtime_events`]).
pub(crate) fn container(plan: &StartPlan, host: &Host) -> Value {
    let mut description = json!({
        "Image": plan.image,
        "Hostname": format!("convocate-{}", plan.id.short()),
        // Whatever the image says: as root, and with -p no shell code of its environment.
        "Entrypoint": entrypoint(plan),
        "User": "0:0",
        "Cmd": [startup::command_text(plan)],
        "Env": environment(plan, host),
        "Labels": labels(plan, host),
        "StopTimeout": SESSION_STOP_GRACE.as_secs(),
        "HostConfig": host_config(plan, host),
    });
    if let Some(port) = port_key(plan) {
        description["ExposedPorts"] = json!({ port: {} });
    }
    description
}

/// The first program in it. Where it reaches names alone, ours makes the socket for that, hands it
/// to the agent, and becomes the other: when the session's command begins, it can be used.
fn entrypoint(plan: &StartPlan) -> Vec<String> {
    let entrypoint = ["/bin/bash", "-p", "/usr/local/lib/convocate/entrypoint"];
    let first = match plan.egress {
        Egress::List => open_network(None).into_iter().chain(["--".to_owned()]).collect(),
        Egress::Open | Egress::None => Vec::new(),
    };
    first.into_iter().chain(entrypoint.map(str::to_owned)).collect()
}

/// What tells ssh its way out of a session that reaches names alone.
pub(crate) fn ssh_config() -> String {
    format!("Host *\n    ProxyCommand {PROGRAM} dial %h %p\n")
}

/// The command that hands over sockets of a session's network, in its container: that of its proxy,
/// or a pool of so many.
pub(crate) fn open_network(pool: Option<usize>) -> Vec<String> {
    let what = pool.map_or_else(|| "proxy".to_owned(), |count| count.to_string());
    let socket = format!("{SOCKET_DIR}/{HANDOVER_SOCKET}");
    vec![PROGRAM.to_owned(), "open-network".to_owned(), socket, what]
}

fn environment(plan: &StartPlan, host: &Host) -> Vec<String> {
    let (uid, gid) = host.ids(plan.uid);
    let given = plan.startup.env.iter().map(|(name, value)| format!("{name}={value}"));
    let mut variables: Vec<String> = given.collect();
    variables.extend([
        format!("CLAUDE_UID={uid}"),
        format!("CLAUDE_GID={gid}"),
        format!("CONVOCATE_SESSION={}", plan.id),
        format!("CONVOCATE_COLS={}", plan.size.cols()),
        format!("CONVOCATE_ROWS={}", plan.size.rows()),
        format!("CONVOCATE_SCROLLBACK={}", scrollback(plan.caps)),
    ]);
    if plan.has_key {
        variables.push(format!("SSH_AUTH_SOCK={SOCKET_DIR}/{SESSION_SOCKET}"));
    }
    if plan.egress == Egress::List {
        let ours = proxy_env().into_iter().filter(|(name, _)| !plan.startup.env.contains(name));
        variables.extend(ours.map(|(name, value)| format!("{name}={value}")));
    }
    variables.extend(SESSION_ENV.map(|(name, value)| format!("{name}={value}")));
    let told = startup::variables(plan);
    variables.extend(told.into_iter().map(|(name, value)| format!("{name}={value}")));
    variables
}

/// The lines that tmux keeps. A wide one with colours takes 7 KiB of the session's own memory.
fn scrollback(caps: Caps) -> u64 {
    (caps.memory / SCROLLBACK_LINE_CAP_BYTES).min(SCROLLBACK_LINES_MAX)
}

fn labels(plan: &StartPlan, host: &Host) -> BTreeMap<&'static str, String> {
    let mut labels = BTreeMap::from([
        (LABEL_SESSION, plan.id.to_string()),
        (LABEL_ROOT, root_label(host)),
        (LABEL_IMAGE, plan.image.clone()),
        (LABEL_MEMORY, plan.caps.memory.to_string()),
        (LABEL_CPUS, plan.caps.cpus.as_millis().to_string()),
        (LABEL_PIDS, plan.caps.pids.to_string()),
    ]);
    if plan.egress == Egress::List {
        labels.insert(LABEL_EGRESS, plan.egress.as_str().to_owned());
    }
    labels.extend(plan.uid.map(|uid| (LABEL_UID, uid.to_string())));
    labels
}

fn host_config(plan: &StartPlan, host: &Host) -> Value {
    let mut config = json!({
        "Init": true,
        "RestartPolicy": { "Name": "unless-stopped" },
        "Mounts": mounts(plan, host),
        "Memory": plan.caps.memory,
        // The same number: no swap on top.
        "MemorySwap": plan.caps.memory,
        "MemoryReservation": plan.memory_reservation,
        "OomScoreAdj": SESSION_OOM_SCORE_ADJUST,
        "PidsLimit": plan.caps.pids,
        // Where the host has no AppArmor, the Engine passes over its profile. Before version 23 it
        // knows no name for its seccomp profile: the installation looks that there is one.
        "SecurityOpt": ["no-new-privileges", "apparmor=docker-default"],
        "Ulimits": ulimits(),
        "ShmSize": SESSION_SHM_BYTES,
        // Where its terminals' sockets are. It counts as the session's memory.
        "Tmpfs": { RUN: tmpfs_options() },
        // The entrypoint becomes claude and ends claude's processes. Nobody in there needs more.
        "CapDrop": ["ALL"],
        "CapAdd": ["SETUID", "SETGID", "KILL"],
        "LogConfig": log_config(plan, host),
    });
    // All sessions have the same weight. A quota stops even one that is alone.
    if let Some(quota) = plan.cpu_quota {
        config["NanoCpus"] = json!(u64::from(quota.as_millis()) * 1_000_000);
    }
    if let Some(port) = port_key(plan) {
        config["PortBindings"] = json!({ port: bindings(plan, host) });
    }
    match plan.egress {
        Egress::None | Egress::List => config["NetworkMode"] = json!("none"),
        Egress::Open => {
            if let Some(network) = host.network {
                config["NetworkMode"] = json!(network);
            }
        }
    }
    if let Some(dns) = &host.dns {
        config["Dns"] = json!([dns]);
    }
    if let Some(parent) = &host.cgroup_parent {
        config["CgroupParent"] = json!(parent);
    }
    config
}

fn tmpfs_options() -> String {
    format!("size={SESSION_RUN_BYTES},nr_inodes={SESSION_RUN_FILES},mode=1777")
}

/// What each process of a session may use of what no control group counts.
fn ulimits() -> Value {
    let limit = |name: &str, max: u64| json!({ "Name": name, "Soft": max, "Hard": max });
    json!([
        limit("nofile", SESSION_OPEN_FILES_MAX),
        limit("core", 0),
        limit("msgqueue", SESSION_MESSAGE_QUEUE_BYTES_MAX),
        limit("memlock", SESSION_LOCKED_BYTES_MAX),
    ])
}

fn mounts(plan: &StartPlan, host: &Host) -> Vec<Value> {
    let bind = |source: PathBuf, target: &str, read_only: bool| {
        // A path of ours is text: the root is an option, the rest are names from this crate.
        let source = source.to_string_lossy().into_owned();
        json!({ "Type": "bind", "Source": source, "Target": target, "ReadOnly": read_only })
    };
    let mut mounts = vec![bind(host.paths.session(plan.id), HOME, false)];
    if plan.has_socket {
        // A socket that is made anew in it is found: the directory is what is mounted.
        mounts.push(bind(host.paths.session_socket_dir(plan.id), SOCKET_DIR, true));
    }
    if let (Egress::List, Some(program)) = (plan.egress, &host.program) {
        mounts.push(bind(program.clone(), PROGRAM, true));
        let config = host.paths.session_socket_dir(plan.id).join(SSH_CONFIG);
        mounts.push(bind(config, "/etc/ssh/ssh_config.d/convocate.conf", true));
    }
    if plan.has_settings {
        // A directory: a file would leave an empty one in images that are made of the container.
        mounts.push(bind(host.paths.session_given_dir(plan.id), SETTINGS_DIR, true));
    }
    mounts.extend(host.binds.iter().map(|shared| bind(shared.source.clone(), shared.target, true)));
    if plan.docker {
        mounts.push(bind(PathBuf::from(DOCKER_SOCKET), DOCKER_SOCKET, false));
    }
    mounts
}

fn log_config(plan: &StartPlan, host: &Host) -> Value {
    if host.has_syslog {
        let tag = format!("convocate-session/{}", plan.id);
        return json!({ "Type": "syslog", "Config": { "tag": tag } });
    }
    let size = format!("{DOCKER_LOG_FILE_MIB}m");
    json!({ "Type": "json-file", "Config": { "max-size": size, "max-file": "2" } })
}

/// On which addresses of the host its port is. Docker publishes in front of the host's firewall.
fn bindings(plan: &StartPlan, host: &Host) -> Vec<Value> {
    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let binding = |address: String| json!({ "HostIp": address, "HostPort": plan.port.to_string() });
    match plan.publish {
        Publish::All => vec![binding(String::new())],
        Publish::Address(address) => vec![binding(address.to_string())],
        Publish::Default => {
            let own = host.cluster_address.filter(|address| *address != LOOPBACK);
            [LOOPBACK].into_iter().chain(own).map(|address| binding(address.to_string())).collect()
        }
    }
}

/// `8080/tcp`, if the session has a port.
fn port_key(plan: &StartPlan) -> Option<String> {
    (plan.port != 0 && plan.egress == Egress::Open)
        .then(|| format!("{}/{}", plan.port, plan.protocol))
}

/// What [`LABEL_ROOT`] says of this agent's containers.
pub(crate) fn root_label(host: &Host) -> String {
    host.paths.root().display().to_string()
}

/// The session that a container's labels name. `None` if the container is not one of ours.
pub(crate) fn session_id(labels: &BTreeMap<String, String>) -> Option<Uuid> {
    Uuid::parse(labels.get(LABEL_SESSION)?).ok()
}

/// A session that runs, from its container's id and labels.
pub(crate) fn running(
    container: &str,
    labels: &BTreeMap<String, String>,
    started_at: Wall,
) -> Option<Running> {
    Some(Running {
        id: session_id(labels)?,
        started_at,
        container: container.to_owned(),
        image: labels.get(LABEL_IMAGE).cloned().unwrap_or_default(),
        caps: caps(labels),
        uid: labels.get(LABEL_UID).and_then(|uid| uid.parse().ok()),
        is_carried: labels.get(LABEL_EGRESS).is_some_and(|egress| egress == Egress::List.as_str()),
    })
}

/// As they were at the start; `None` if a label is missing or out of range.
fn caps(labels: &BTreeMap<String, String>) -> Option<Caps> {
    Some(Caps {
        memory: Caps::check_memory(labels.get(LABEL_MEMORY)?.parse().ok()?).ok()?,
        cpus: Cpus::from_millis(labels.get(LABEL_CPUS)?.parse().ok()?)?,
        pids: Caps::check_pids(labels.get(LABEL_PIDS)?.parse().ok()?).ok()?,
    })
}

/// Turns a JSON object of strings into what [`running`] reads.
#[cfg(test)]
pub(crate) fn label_table(labels: &serde_json::Map<String, Value>) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    labels.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::rpc::attach::TerminalSize;
    use crate::rpc::field::{Protocol, SessionCommand};

    pub(crate) const ID: &str = "01234567-89ab-4def-8123-456789abcdef";

    pub(crate) fn id() -> Uuid {
        Uuid::parse(ID).unwrap()
    }

    pub(crate) fn plan() -> StartPlan {
        StartPlan {
            id: id(),
            command: SessionCommand::parse("echo 'a b'; exit 3").unwrap(),
            port: 53,
            protocol: Protocol::Udp,
            docker: false,
            egress: Egress::Open,
            publish: Publish::Default,
            caps: Caps { memory: 1 << 30, cpus: Cpus::from_millis(1500).unwrap(), pids: 512 },
            cpu_quota: Cpus::from_millis(1500),
            memory_reservation: 1 << 29,
            image: "convocate:1.2.3".to_owned(),
            startup: Box::default(),
            uid: Some(2_000_007),
            has_socket: true,
            has_key: true,
            has_settings: true,
            size: TerminalSize::clamped(120, 40),
        }
    }

    pub(crate) fn host() -> Host {
        Host { paths: Paths::below("/r"), uid: 1000, gid: 1001, ..Host::default() }
    }

    #[test]
    fn a_plan_becomes_a_container() {
        let description = container(&plan(), &host());
        assert_eq!(description["Cmd"], json!(["echo 'a b'; exit 3"]));
        // The image's own would be root's, and so would what the image puts into its environment.
        let entrypoint = json!(["/bin/bash", "-p", "/usr/local/lib/convocate/entrypoint"]);
        assert_eq!(
            (&description["Entrypoint"], &description["User"]),
            (&entrypoint, &json!("0:0"))
        );
        assert_eq!(description["Hostname"], "convocate-01234567");
        assert_eq!(description["ExposedPorts"], json!({"53/udp": {}}));
        let environment = description["Env"].as_array().unwrap();
        for (name, earlier) in [("CLAUDE_UID=", "1000"), ("CLAUDE_GID=", "1001")] {
            assert!(environment.contains(&json!(format!("{name}2000007"))), "{environment:?}");
            let shared = container(&StartPlan { uid: None, ..plan() }, &host());
            let environment = shared["Env"].as_array().unwrap();
            assert!(environment.contains(&json!(format!("{name}{earlier}"))), "{environment:?}");
        }
        assert!(environment.contains(&json!("CONVOCATE_SCROLLBACK=21845")), "{environment:?}");
        let config = &description["HostConfig"];
        let loopback = json!([{"HostIp": "127.0.0.1", "HostPort": "53"}]);
        assert_eq!(config["PortBindings"], json!({ "53/udp": loopback }));
        assert_eq!(config["Memory"], config["MemorySwap"]);
        assert_eq!(
            (&config["NanoCpus"], &config["PidsLimit"]),
            (&json!(1_500_000_000), &json!(512))
        );
        assert_eq!(config["LogConfig"]["Type"], "json-file");
        assert_eq!(config["SecurityOpt"], json!(["no-new-privileges", "apparmor=docker-default"]));
        let home = format!("/r/home/claude/{ID}");
        assert_eq!(
            config["Mounts"],
            json!([
                {"Type": "bind", "Source": home, "Target": HOME, "ReadOnly": false},
                {
                    "Type": "bind",
                    "Source": format!("/r/var/lib/convocate-agent/sockets/{ID}"),
                    "Target": "/run/convocate/agent",
                    "ReadOnly": true,
                },
                {
                    "Type": "bind",
                    "Source": format!("/r/var/lib/convocate-agent/given/{ID}"),
                    "Target": "/etc/claude-code",
                    "ReadOnly": true,
                },
            ])
        );
        let socket = json!("SSH_AUTH_SOCK=/run/convocate/agent/session.sock");
        assert!(environment.contains(&socket), "{environment:?}");
        let without =
            StartPlan { has_socket: false, has_key: false, has_settings: false, ..plan() };
        let without = container(&without, &host());
        assert_eq!(without["HostConfig"]["Mounts"].as_array().map(Vec::len), Some(1));
        assert!(!without["Env"].to_string().contains("SSH_AUTH_SOCK"), "{without}");
        for absent in ["Dns", "CgroupParent", "NetworkMode", "Privileged"] {
            assert_eq!(config.get(absent), None, "{absent}");
        }
    }

    #[test]
    fn what_the_host_has_is_used() {
        let host = Host {
            binds: read_only_binds(&Paths::below("/r")),
            dns: Some("172.17.0.1".to_owned()),
            cgroup_parent: Some("convocate-sessions.slice".to_owned()),
            has_syslog: true,
            network: Some("convocate"),
            ..host()
        };
        let plan = StartPlan { docker: true, port: 0, ..plan() };
        let description = container(&plan, &host);
        let config = &description["HostConfig"];
        assert_eq!(config["Dns"], json!(["172.17.0.1"]));
        assert_eq!(config["CgroupParent"], "convocate-sessions.slice");
        assert_eq!(config["NetworkMode"], "convocate");
        assert_eq!(config["LogConfig"]["Config"]["tag"], format!("convocate-session/{ID}"));
        assert_eq!(description.get("ExposedPorts"), None);
        let writable: Vec<_> = config["Mounts"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|mount| mount["ReadOnly"] == false)
            .map(|mount| mount["Target"].as_str().unwrap())
            .collect();
        assert_eq!(writable, [HOME, DOCKER_SOCKET]);
        let read_only: Vec<_> = config["Mounts"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|mount| mount["ReadOnly"] == true)
            .map(|mount| mount["Source"].as_str().unwrap())
            .collect();
        let [sockets, given] =
            ["sockets", "given"].map(|name| format!("/r/var/lib/convocate-agent/{name}/{ID}"));
        assert_eq!(read_only, [&sockets, &given, "/r/usr/local/bin/claude"]);
    }

    #[test]
    fn a_port_is_on_every_interface_only_by_name() {
        let addresses = |publish, cluster_address: &str| {
            let host = Host { cluster_address: cluster_address.parse().ok(), ..host() };
            let config = host_config(&StartPlan { publish, ..plan() }, &host);
            let all = config["PortBindings"]["53/udp"].as_array().unwrap().clone();
            let text = |one: &Value| one["HostIp"].as_str().unwrap().to_owned();
            all.iter().map(text).collect::<Vec<_>>()
        };
        assert_eq!(addresses(Publish::Default, ""), ["127.0.0.1"]);
        assert_eq!(addresses(Publish::Default, "127.0.0.1"), ["127.0.0.1"]);
        assert_eq!(addresses(Publish::Default, "10.0.0.7"), ["127.0.0.1", "10.0.0.7"]);
        assert_eq!(addresses(Publish::Default, "fd00::7"), ["127.0.0.1", "fd00::7"]);
        let one = Publish::parse("192.0.2.1").unwrap();
        assert_eq!(addresses(one, "10.0.0.7"), ["192.0.2.1"]);
        assert_eq!(addresses(Publish::All, "10.0.0.7"), [""]);
    }

    #[test]
    fn with_names_alone_there_is_no_network_and_our_program_begins() {
        let host = Host { program: Some("/opt/agent".into()), ..host() };
        let env = serde_json::from_str(r#"{"ALL_PROXY":"x"}"#).unwrap();
        let startup = Box::new(crate::rpc::startup::Startup { env, ..Default::default() });
        let plan = StartPlan { egress: Egress::List, port: 80, startup, ..plan() };
        let description = container(&plan, &host);
        assert_eq!(description["HostConfig"]["NetworkMode"], "none");
        assert_eq!(description["HostConfig"].get("PortBindings"), None);
        let socket = "/run/convocate/agent/network.sock";
        let entrypoint = description["Entrypoint"].as_array().unwrap();
        let ours = [PROGRAM, "open-network", socket, "proxy", "--", "/bin/bash"];
        assert!(entrypoint.iter().zip(ours).all(|(is, ours)| is == ours), "{entrypoint:?}");
        let mounts = description["HostConfig"]["Mounts"].to_string();
        assert!(mounts.contains(r#""ReadOnly":true,"Source":"/opt/agent""#), "{mounts}");
        let variables = description["Env"].to_string();
        assert!(variables.contains("https_proxy=http://127.0.0.1:3128"), "{variables}");
        assert!(variables.contains("ALL_PROXY=x") && !variables.contains("ALL_PROXY=http"));
        let labels = label_table(description["Labels"].as_object().unwrap());
        assert!(running("x", &labels, Wall::new(0, 0)).unwrap().is_carried);
        let open = container(&StartPlan { egress: Egress::Open, ..plan }, &host);
        assert!(!open.to_string().contains("open-network"), "{open}");
    }

    #[test]
    fn without_egress_there_is_no_network_at_all() {
        let host = Host { network: Some("convocate"), ..host() };
        let description = container(&StartPlan { egress: Egress::None, ..plan() }, &host);
        assert_eq!(description["HostConfig"]["NetworkMode"], "none");
        assert_eq!(description.get("ExposedPorts"), None);
        assert_eq!(description["HostConfig"].get("PortBindings"), None);
    }

    #[test]
    fn labels_tell_what_was_started() {
        let description = container(&plan(), &host());
        let table = label_table(description["Labels"].as_object().unwrap());
        let found = running("c0", &table, Wall::new(5, 0)).unwrap();
        assert_eq!(found.caps, Some(plan().caps));
        assert_eq!(found.uid, Some(2_000_007));
        assert_eq!((found.id, found.image.as_str()), (id(), "convocate:1.2.3"));
        for (name, bad) in [(LABEL_MEMORY, "1"), (LABEL_CPUS, "0"), (LABEL_PIDS, "x")] {
            let mut broken = table.clone();
            broken.insert(name.to_owned(), bad.to_owned());
            assert_eq!(running("c0", &broken, Wall::new(5, 0)).unwrap().caps, None, "{name}");
        }
        let foreign = BTreeMap::from([(LABEL_SESSION.to_owned(), "../x".to_owned())]);
        assert_eq!(running("c0", &foreign, Wall::new(5, 0)), None);
    }
}
