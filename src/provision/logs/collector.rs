//! The plan of the collector of logs on the shell host: the part of `init-shell` that is about
//! rsyslog, and what of it changes with each agent.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::limits::{LOG_PORT, STATUS_PORT};
use crate::paths::{PRIVATE_KEY, PUBLIC_FILE, Paths, RENEWAL_UNITS};
use crate::provision::goal::file::{Absent, Content, File};
use crate::provision::goal::firewall::Rule;
use crate::provision::goal::package::Packages;
use crate::provision::goal::unit::Unit;
use crate::provision::logs::authority::Wanted;
use crate::provision::logs::rsyslog::{LogAgent, LogDoor, agents_table, collector, rotation};
use crate::provision::logs::user::{LogUser, confinement};
use crate::provision::order::Access;
use crate::provision::plan::agent_host::{access, directory, file, read_by_systemd};
use crate::provision::plan::units::{MARK, RENEWAL_SERVICE, RENEWAL_TIMER};
use crate::provision::step::Step;
use crate::x509::rotation::Trust;

/// How each certificate's file begins.
const CERTIFICATE_MARK: &str = "-----BEGIN CERTIFICATE-----";

/// What the plan depends on.
pub(crate) struct Facts {
    pub(crate) paths: Paths,
    /// The authority and the collector's certificate as they are to be.
    pub(crate) authority: Wanted,
    /// Whose logs are collected.
    pub(crate) agents: Vec<LogAgent>,
    /// As whom rsyslogd runs.
    pub(crate) log_user: LogUser,
    /// Whether AppArmor's profile of rsyslogd takes pieces of others.
    pub(crate) is_confined: bool,
}

/// All steps, in their order.
pub(crate) fn plan(facts: &Facts) -> Vec<Step> {
    let Facts { paths, log_user, authority, .. } = facts;
    let tls = paths.log_authority();
    let mut steps = vec![Step::new("packages for logs", packages())];
    steps.push(directory(paths, tls.dir(), log_user.config_dir()));
    let previous = ("key of the log authority before", tls.previous_key(), &authority.previous_key);
    let own = ("key of the log authority", tls.key(), &authority.key);
    for (name, path, key) in [previous, own] {
        let access = access(paths, PRIVATE_KEY);
        steps.extend(key.as_ref().map(|key| secret(name, &path, key.as_bytes(), access)));
    }
    let text = authority.trust.to_pem();
    steps.push(certificate(paths, "log authority", &tls.authorities(), text));
    let access = log_user.secret(paths);
    let key = authority.server_key.as_bytes();
    steps.push(secret("key of the log collector", &tls.server_key(), key, access));
    steps.push(server_certificate(paths, authority));
    if let Trust::One(_) = authority.trust {
        let name = "no key of a log authority before";
        steps.push(Step::new(name, Absent(tls.previous_key())));
    }
    steps.push(log_user.log_directory(paths, &paths.agent_logs()));
    steps.extend(members(paths, &facts.agents, log_user));
    let content = Content::Text { text: rotation(paths), mark: MARK };
    steps.push(file(paths, "rotation of collected logs", &paths.logrotate(), content, PUBLIC_FILE));
    if facts.is_confined {
        let readable =
            [tls.authorities(), tls.server_certificate(), tls.server_key(), paths.log_agents()];
        steps.push(confinement(paths, &paths.rsyslog_shell_confinement(), &readable));
    }
    for port in [STATUS_PORT, LOG_PORT] {
        steps.push(Step::new(format!("ufw allow {port}/tcp"), Rule(format!("{port}/tcp"))));
    }
    steps.push(service(paths));
    steps.extend(renewal(paths));
    steps
}

/// What looks once a day whether a certificate is to be renewed.
fn renewal(paths: &Paths) -> [Step; 4] {
    let unit = |name: &str, path: &Path, text: &str| {
        let content = Content::Text { text: text.to_owned(), mark: MARK };
        file(paths, name, path, content, PUBLIC_FILE)
    };
    let [timer, service] = RENEWAL_UNITS;
    let made_from = vec![paths.unit(timer)];
    let started = Unit { name: timer.to_owned(), is_enabled: true, made_from };
    [
        unit("unit of renewal", &paths.unit(service), RENEWAL_SERVICE),
        unit("timer of renewal", &paths.unit(timer), RENEWAL_TIMER),
        read_by_systemd(service),
        Step::new(timer, started),
    ]
}

/// The steps that put a renewed certificate of the collector in its place.
pub(crate) fn renewed(paths: &Paths, authority: &Wanted) -> [Step; 2] {
    [server_certificate(paths, authority), service(paths)]
}

fn server_certificate(paths: &Paths, authority: &Wanted) -> Step {
    let path = paths.log_authority().server_certificate();
    let text = authority.server_certificate.to_pem();
    certificate(paths, "certificate of the log collector", &path, text)
}

/// What changes when an agent comes or goes, but for the restart of [`service`].
pub(crate) fn members(paths: &Paths, agents: &[LogAgent], log_user: &LogUser) -> [Step; 2] {
    let table = agents_table(agents);
    let door = LogDoor { address: None, port: LOG_PORT };
    let text = collector(paths, door, agents);
    let content = Content::Text { text, mark: MARK };
    let access = log_user.secret(paths);
    [
        secret("agents whose logs are collected", &paths.log_agents(), table.as_bytes(), access),
        file(paths, "collection of logs", &paths.rsyslog_collector(), content, PUBLIC_FILE),
    ]
}

/// rsyslog, restarted when something that the collector reads is newer.
pub(crate) fn service(paths: &Paths) -> Step {
    let tls = paths.log_authority();
    let made_from = vec![
        paths.rsyslog_collector(),
        paths.log_agents(),
        tls.authorities(),
        tls.server_certificate(),
        tls.server_key(),
        paths.rsyslog_shell_confinement(),
    ];
    rsyslog(made_from)
}

// --- steps that the forwarder has, too ---

/// rsyslog, restarted when one of these files is newer.
pub(crate) fn rsyslog(made_from: Vec<PathBuf>) -> Step {
    let name = "rsyslog.service".to_owned();
    Step::new(name.clone(), Unit { name, is_enabled: true, made_from })
}

/// What logs need of the distribution.
pub(crate) fn packages() -> Packages {
    Packages::new(["rsyslog", "rsyslog-gnutls", "logrotate"])
}

/// A certificate, which anybody may read.
pub(crate) fn certificate(paths: &Paths, name: &str, path: &Path, text: String) -> Step {
    let content = Content::Text { text, mark: CERTIFICATE_MARK };
    file(paths, name, path, content, PUBLIC_FILE)
}

/// A file of which nothing is shown.
pub(crate) fn secret(name: &str, path: &Path, bytes: &[u8], access: Access) -> Step {
    let content = Content::Secret(Zeroizing::new(bytes.to_vec()));
    Step::new(name, File { path: path.to_owned(), content, access })
}
