//! The plan of making an agent belong to a shell host: who drives it, whom it tells, where its
//! logs go. It ends with the start of the service.

use crate::limits::AGENT_PORT;
use crate::paths::{PRIVATE_KEY, PUBLIC_FILE, Paths};
use crate::provision::enrol::shell::{DRIVING_KEY, key_alone};
use crate::provision::goal::file::{Content, Others};
use crate::provision::logs::rsyslog::{LogTarget, LogToken, forward};
use crate::provision::plan::agent_host::{current_image, start};
use crate::provision::plan::log_user::confinement;
use crate::provision::plan::parts::{
    access, certificate, file, has_image, log_packages, open_port, rsyslog, secret,
};
use crate::provision::step::Step;

pub(crate) struct AgentEnrolmentFacts {
    pub(crate) paths: Paths,
    /// Where the shell host is dialled.
    pub(crate) shell_host: String,
    /// The public key that drives this agent, as a line.
    pub(crate) driving_key: String,
    /// The public host key of the shell host's listener, as a line.
    pub(crate) status_host_key: String,
    /// The authorities of the certificates for logs, as PEM.
    pub(crate) authorities: String,
    /// This agent's certificate, as PEM.
    pub(crate) certificate: String,
    /// Where its logs go.
    pub(crate) target: LogTarget,
    /// The secret that they carry.
    pub(crate) token: LogToken,
    /// The image that new containers use.
    pub(crate) image: String,
    /// Whether it is brought here later: nothing is changed yet.
    pub(crate) image_comes: bool,
    /// Whether AppArmor's profile of rsyslogd takes pieces of others.
    pub(crate) is_confined: bool,
}

pub(crate) fn plan(facts: &AgentEnrolmentFacts) -> Vec<Step> {
    let AgentEnrolmentFacts { paths, .. } = facts;
    let tls = paths.agent_tls();
    let line = format!("{} {DRIVING_KEY}", key_alone(&facts.driving_key));
    let instead_of = Some(Others::Ending(format!(" {DRIVING_KEY}")));
    let driver = Content::Line { line, instead_of };
    let host_key = format!("{}\n", facts.status_host_key.trim());
    let host_key = Content::Text { text: host_key, mark: "ssh-ed25519 " };
    let host = Content::Text { text: format!("{}\n", facts.shell_host), mark: "" };
    let forwarding = forward(paths, &facts.target, &facts.token);
    let access = access(paths, PRIVATE_KEY);
    let mut steps = vec![
        Step::new("packages for logs", log_packages()),
        file(paths, "who drives it", &paths.agent_authorized_keys(), driver, PUBLIC_FILE),
        file(paths, "shell host's key", &paths.agent_shell_known_host(), host_key, PUBLIC_FILE),
        file(paths, "shell host", &paths.agent_shell_host(), host, PUBLIC_FILE),
        certificate(paths, "log authority", &tls.authorities(), facts.authorities.clone()),
        certificate(paths, "own certificate", &tls.certificate(), facts.certificate.clone()),
        secret("forwarding of logs", &paths.rsyslog_forward(), forwarding.as_bytes(), access),
    ];
    if facts.is_confined {
        let readable = [tls.authorities(), tls.certificate(), tls.key()];
        steps.push(confinement(paths, &paths.rsyslog_agent_confinement(), &readable));
    }
    steps.push(open_port(AGENT_PORT));
    steps.push(rsyslog(vec![
        paths.rsyslog_forward(),
        tls.authorities(),
        tls.certificate(),
        tls.key(),
        paths.rsyslog_agent_confinement(),
    ]));
    if !facts.image_comes {
        steps.push(has_image(&facts.image, "call init-agent again, which brings it here"));
    }
    steps.push(current_image(paths, &facts.image));
    steps.extend(start(paths));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::goal::file::File;
    use crate::x509::{AltName, CommonName};

    #[test]
    fn it_is_started_when_it_knows_its_shell_host() {
        let facts = AgentEnrolmentFacts {
            paths: Paths::default(),
            shell_host: "shell".to_owned(),
            driving_key: "ssh-ed25519 AAAA of somebody".to_owned(),
            status_host_key: "ssh-ed25519 BBBB status".to_owned(),
            authorities: String::new(),
            certificate: String::new(),
            target: LogTarget {
                host: AltName::parse("shell").expect("a name"),
                port: 514,
                name: CommonName::parse("shell").expect("a name"),
            },
            token: LogToken::parse(&"3".repeat(32)).expect("a token"),
            image: "convocate:1".to_owned(),
            image_comes: false,
            is_confined: true,
        };
        let steps = plan(&facts);
        assert_eq!(steps.last().map(|step| step.name.as_str()), Some("convocate-agent.service"));
        let driver = steps.iter().find(|step| step.name == "who drives it").expect("a step");
        let driver = driver.goal::<File>().expect("a file");
        let Content::Line { line, .. } = &driver.content else { panic!("a line") };
        assert_eq!(line, "ssh-ed25519 AAAA shell to agent");
        // The secret of its logs is in no text that is shown.
        let files: Vec<&File> = steps.iter().filter_map(Step::goal).collect();
        let shown = format!("{files:?}");
        assert!(!shown.contains(&"3".repeat(32)), "{shown}");
        assert!(shown.contains("/etc/apparmor.d/rsyslog.d/convocate-client"));
    }
}
