//! The plan of the collector of logs on the shell host: the part of `init-shell` that is about
//! rsyslog, and what of it changes with each agent.

use crate::limits::{LOG_PORT, STATUS_PORT};
use crate::paths::{PRIVATE_KEY, Paths, RENEWAL_UNITS};
use crate::provision::goal::file::Absent;
use crate::provision::logs::authority::WantedAuthority;
use crate::provision::logs::rsyslog::{LogAgent, LogDoor, agents_table, collector, rotation};
use crate::provision::plan::log_user::{LogUser, confinement};
use crate::provision::plan::parts::{
    access, certificate, directory, drop_in, log_packages, open_port, read_by_systemd, rsyslog,
    secret, unit,
};
use crate::provision::plan::units::{RENEWAL_SERVICE, RENEWAL_TIMER};
use crate::provision::step::Step;
use crate::x509::rotation::Trust;

/// What the plan depends on.
pub(crate) struct CollectorFacts {
    pub(crate) paths: Paths,
    /// The authority and the collector's certificate as they are to be.
    pub(crate) authority: WantedAuthority,
    /// Whose logs are collected.
    pub(crate) agents: Vec<LogAgent>,
    /// As whom rsyslogd runs.
    pub(crate) log_user: LogUser,
    /// Whether AppArmor's profile of rsyslogd takes pieces of others.
    pub(crate) is_confined: bool,
}

/// All steps, in their order.
pub(crate) fn plan(facts: &CollectorFacts) -> Vec<Step> {
    let CollectorFacts { paths, log_user, authority, .. } = facts;
    let tls = paths.log_authority();
    let mut steps = vec![Step::new("packages for logs", log_packages())];
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
    steps.push(drop_in(paths, "rotation of collected logs", &paths.logrotate(), rotation(paths)));
    if facts.is_confined {
        let readable =
            [tls.authorities(), tls.server_certificate(), tls.server_key(), paths.log_agents()];
        steps.push(confinement(paths, &paths.rsyslog_shell_confinement(), &readable));
    }
    steps.extend([STATUS_PORT, LOG_PORT].map(open_port));
    steps.push(service(paths));
    steps.extend(renewal(paths));
    steps
}

/// What looks once a day whether a certificate is to be renewed.
fn renewal(paths: &Paths) -> [Step; 4] {
    let [timer, service] = RENEWAL_UNITS;
    let (timer_path, service_path) = (paths.unit(timer), paths.unit(service));
    [
        drop_in(paths, "unit of renewal", &service_path, RENEWAL_SERVICE),
        drop_in(paths, "timer of renewal", &timer_path, RENEWAL_TIMER),
        read_by_systemd(service),
        unit(timer, vec![timer_path]),
    ]
}

/// The steps that put a renewed certificate of the collector in its place.
pub(crate) fn renewed(paths: &Paths, authority: &WantedAuthority) -> [Step; 2] {
    [server_certificate(paths, authority), service(paths)]
}

fn server_certificate(paths: &Paths, authority: &WantedAuthority) -> Step {
    let path = paths.log_authority().server_certificate();
    let text = authority.server_certificate.to_pem();
    certificate(paths, "certificate of the log collector", &path, text)
}

/// What changes when an agent comes or goes, but for the restart of [`service`].
pub(crate) fn members(paths: &Paths, agents: &[LogAgent], log_user: &LogUser) -> [Step; 2] {
    let table = agents_table(agents);
    let door = LogDoor { address: None, port: LOG_PORT };
    let text = collector(paths, door, agents);
    let access = log_user.secret(paths);
    [
        secret("agents whose logs are collected", &paths.log_agents(), table.as_bytes(), access),
        drop_in(paths, "collection of logs", &paths.rsyslog_collector(), text),
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
