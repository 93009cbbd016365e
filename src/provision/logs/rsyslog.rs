//! What rsyslog and logrotate are told, so that the logs of agents and sessions are collected.
//!
//! Text alone: the files are written by steps. An agent forwards what it and its sessions say over
//! TLS, from a bounded queue of its own that spills to disk, so that a collector which is down,
//! slow or swallowed by the network holds up nobody. The collector lets in only certificates of
//! known agents, and files each message under the agent that sent it.
//!
//! rsyslog does not tell a rule which certificate a message came with. So each agent has a
//! [`LogToken`], a secret that it puts before its messages: the collector looks the agent up by
//! it, and no host name or tag that a message claims has a say. A token that is not known files
//! nothing, and a file's name comes out of the table of agents and never out of a message.
//!
//! What the queue holds arrives, and what it was giving away when a connection broke is sent again:
//! perhaps twice. Syslog has no acknowledgements, so what the kernel has taken and not brought over
//! is lost with a connection that is given up. So the collector is slow to give one up.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use crate::base::rng::Rng;
use crate::limits::{
    LOG_DOOR_SILENT_SECONDS_MAX, LOG_FORWARD_QUEUE_DISK_MIB, LOG_FORWARD_QUEUE_MESSAGES,
    LOG_FORWARD_RESUME_SECONDS_MAX, LOG_KEEP_DAYS,
};
use crate::paths::Paths;
use crate::rpc::agent_id::AgentId;
use crate::x509::{AltName, CommonName};

/// Who may send when there is no agent yet: a name that no certificate of ours has. Without any
/// name rsyslog would have to be trusted to let nobody in.
const NOBODY: &str = "nobody.invalid";
/// What stands at the top of each file.
const MARK: &str = "# Written by convocate, and written anew when something changes.\n\
                    # Rules of your own belong into another file.\n";

/// The secret that says which agent a message is from: 32 hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct LogToken(String);

/// Hexadecimal digits of a token: 128 random bits.
const TOKEN_DIGITS: usize = 32;

impl LogToken {
    pub fn random(rng: &mut Rng) -> LogToken {
        LogToken(format!("{:032x}", u128::from_be_bytes(rng.bytes())))
    }

    /// Reads one; blanks around it do not count. `None` if it is none.
    pub(crate) fn parse(text: &str) -> Option<LogToken> {
        let text = text.trim();
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == TOKEN_DIGITS && text.bytes().all(is_digit))
            .then(|| LogToken(text.to_owned()))
    }

    /// The digits, for the two files that hold them.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for LogToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("LogToken(..)")
    }
}

/// An agent whose logs are collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogAgent {
    /// Its id, which its certificate names.
    pub id: AgentId,
    pub token: LogToken,
}

/// Where the collector listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogDoor {
    /// At one address, or at all.
    pub address: Option<IpAddr>,
    pub port: u16,
}

/// Where an agent forwards to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTarget {
    pub host: AltName,
    pub port: u16,
    /// The common name of the collector's certificate.
    pub name: CommonName,
}

/// The collector's drop-in for rsyslog. It holds no secret; [`agents_table`] is the other half.
pub fn collector(paths: &Paths, door: LogDoor, agents: &[LogAgent]) -> String {
    let tls = paths.log_authority();
    let mut peers: Vec<&str> = agents.iter().map(|agent| agent.id.as_str()).collect();
    peers.sort_unstable();
    if peers.is_empty() {
        peers.push(NOBODY);
    }
    let peers: Vec<String> = peers.into_iter().map(quoted).collect();
    let address = door.address.map(|it| format!(" address=\"{it}\"")).unwrap_or_default();
    let port = door.port;
    format!(
        r#"{MARK}module(load="imtcp")

lookup_table(name="convocate-agents" file={table} reloadOnHUP="on")

template(name="convocate-agent-file" type="list") {{
    constant(value={directory})
    property(name="$.convocate_agent")
    constant(value=".log")
}}

template(name="convocate-agent-line" type="list") {{
    property(name="timestamp" dateFormat="rfc3339")
    property(name="msg" spIfNo1stSp="on")
    property(name="msg" dropLastLf="on")
    constant(value="\n")
}}

ruleset(name="convocate-agents") {{
    set $.convocate_token = field($structured-data, 34, 2);
    set $.convocate_agent = lookup("convocate-agents", $.convocate_token);
    if $.convocate_agent != "" then {{
        action(type="omfile" dynaFile="convocate-agent-file" template="convocate-agent-line"
               fileCreateMode="0640")
    }}
    stop
}}

input(type="imtcp" port="{port}"{address} ruleset="convocate-agents"
      StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/name"
      StreamDriver.PermitExpiredCerts="off" StreamDriver.CheckExtendedKeyPurpose="on"
      StreamDriver.CAFile={ca}
      StreamDriver.CertFile={certificate}
      StreamDriver.KeyFile={key}
      KeepAlive="on" KeepAlive.Time="{LOG_DOOR_SILENT_SECONDS_MAX}" KeepAlive.Interval="15"
      KeepAlive.Probes="3"
      PermittedPeer=[{peers}])
"#,
        table = quoted_path(&paths.log_agents()),
        directory = quoted(&format!("{}/", paths.agent_logs().display())),
        ca = quoted_path(&tls.authorities()),
        certificate = quoted_path(&tls.server_certificate()),
        key = quoted_path(&tls.server_key()),
        peers = peers.join(", "),
    )
}

/// The collector's table of agents, by their secrets: a file that only root reads.
pub fn agents_table(agents: &[LogAgent]) -> String {
    let mut rows: Vec<(&str, &str)> =
        agents.iter().map(|agent| (agent.token.reveal(), agent.id.as_str())).collect();
    rows.sort_unstable();
    let rows: Vec<String> = rows
        .into_iter()
        .map(|(token, id)| format!("    {{ \"index\": \"{token}\", \"value\": \"{id}\" }}"))
        .collect();
    let rows = if rows.is_empty() {
        String::from("    { \"index\": \"none\", \"value\": \"\" }")
    } else {
        rows.join(",\n")
    };
    format!(
        "{{ \"version\": 1, \"nomatch\": \"\", \"type\": \"string\", \"table\": [\n{rows}\n] }}\n"
    )
}

/// An agent's drop-in for rsyslog: a file that only root reads, for the secret in it.
///
/// What is forwarded is what the agent says, and what its containers say under the tag
/// `convocate-session/UUID`; all of it also stays where this host keeps its logs.
pub fn forward(paths: &Paths, target: &LogTarget, token: &LogToken) -> String {
    let tls = paths.agent_tls();
    format!(
        r#"{MARK}template(name="convocate-forward" type="list") {{
    constant(value="<")
    property(name="pri")
    constant(value=">1 ")
    property(name="timestamp" dateFormat="rfc3339")
    constant(value=" ")
    property(name="hostname")
    constant(value=" convocate - - [convocate token=\"{token}\"] ")
    property(name="syslogtag")
    property(name="msg" spIfNo1stSp="on")
    property(name="msg")
}}

if $programname == "convocate-agent" or $programname == "convocate-session" then {{
    action(type="omfwd" protocol="tcp" target={host} port="{port}"
           template="convocate-forward" TCP_Framing="octet-counted"
           StreamDriver="gtls" StreamDriverMode="1" StreamDriverAuthMode="x509/name"
           StreamDriverPermittedPeers={name}
           StreamDriver.PermitExpiredCerts="off" StreamDriver.CheckExtendedKeyPurpose="on"
           StreamDriver.CAFile={ca}
           StreamDriver.CertFile={certificate}
           StreamDriver.KeyFile={key}
           KeepAlive="on" KeepAlive.Time="60" KeepAlive.Interval="15" KeepAlive.Probes="3"
           action.resumeRetryCount="-1" action.resumeInterval="1"
           action.resumeIntervalMax="{LOG_FORWARD_RESUME_SECONDS_MAX}"
           queue.type="LinkedList" queue.size="{LOG_FORWARD_QUEUE_MESSAGES}"
           queue.filename="convocate-forward" queue.spoolDirectory={spool}
           queue.maxDiskSpace="{LOG_FORWARD_QUEUE_DISK_MIB}m" queue.saveOnShutdown="on"
           queue.timeoutEnqueue="0")
}}
"#,
        token = token.reveal(),
        host = quoted(&target.host.to_string()),
        port = target.port,
        name = quoted(target.name.as_str()),
        ca = quoted_path(&tls.authorities()),
        certificate = quoted_path(&tls.certificate()),
        key = quoted_path(&tls.key()),
        spool = quoted_path(&paths.rsyslog_spool()),
    )
}

/// logrotate's drop-in for what the collector has written.
pub fn rotation(paths: &Paths) -> String {
    let files = quoted(&format!("{}/*.log", paths.agent_logs().display()));
    format!(
        "{MARK}{files} {{
    daily
    rotate {LOG_KEEP_DAYS}
    missingok
    notifempty
    compress
    delaycompress
    sharedscripts
    postrotate
        /usr/lib/rsyslog/rsyslog-rotate
    endscript
}}
"
    )
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// A text between double quotes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(id: &str, digit: char) -> LogAgent {
        let token = LogToken::parse(&digit.to_string().repeat(TOKEN_DIGITS)).expect("digits");
        LogAgent { id: AgentId::parse(id).expect("an id"), token }
    }

    #[test]
    fn a_token_is_32_digits_and_is_not_printed() {
        let token = LogToken::random(&mut Rng::from_seed([1; 32]));
        assert_eq!(LogToken::parse(&format!("{}\n", token.reveal())), Some(token.clone()));
        assert_eq!(format!("{token:?}"), "LogToken(..)");
        for text in ["", "g", "\"", "A", "00"] {
            assert_eq!(LogToken::parse(&text.repeat(TOKEN_DIGITS)), None, "{text}");
        }
        assert_eq!(LogToken::parse("0"), None);
    }

    #[test]
    fn the_collector_knows_its_agents_and_nobody_else() {
        let door = LogDoor { address: None, port: 514 };
        let agents = [agent("mmmmmmmmmmmm", '1'), agent("abcdefghjkmn", '2')];
        let text = collector(&Paths::default(), door, &agents);
        assert!(text.contains("PermittedPeer=[\"abcdefghjkmn\", \"mmmmmmmmmmmm\"])"), "{text}");
        assert!(text.contains("port=\"514\" ruleset"), "{text}");
        assert!(!text.contains("1111"), "{text}");
        let alone = collector(&Paths::default(), door, &[]);
        assert!(alone.contains("PermittedPeer=[\"nobody.invalid\"])"), "{alone}");
        let table: serde_json::Value = serde_json::from_str(&agents_table(&agents)).expect("JSON");
        assert_eq!(table["table"][0]["value"], "mmmmmmmmmmmm");
        assert_eq!(table["nomatch"], "");
        assert!(serde_json::from_str::<serde_json::Value>(&agents_table(&[])).is_ok());
    }

    /// The order of agents does not change the files, so a second run changes nothing.
    #[test]
    fn the_same_agents_give_the_same_files() {
        let door = LogDoor { address: None, port: 514 };
        let there = [agent("mmmmmmmmmmmm", '1'), agent("abcdefghjkmn", '2')];
        let back = [there[1].clone(), there[0].clone()];
        assert_eq!(agents_table(&there), agents_table(&back));
        let [there, back] = [&there, &back].map(|it| collector(&Paths::default(), door, it));
        assert_eq!(there, back);
    }

    #[test]
    fn an_agent_forwards_from_a_queue_that_never_holds_it_up() {
        let target = LogTarget {
            host: AltName::parse("shell.example.org").expect("a name"),
            port: 514,
            name: CommonName::parse("shell").expect("a name"),
        };
        let text = forward(&Paths::default(), &target, &agent("abcdefghjkmn", '2').token);
        for part in [
            "target=\"shell.example.org\" port=\"514\"",
            "StreamDriverPermittedPeers=\"shell\"",
            "StreamDriver.KeyFile=\"/etc/convocate-agent/rsyslog-tls/client.key\"",
            "queue.timeoutEnqueue=\"0\"",
            "queue.maxDiskSpace=\"256m\"",
            "action.resumeRetryCount=\"-1\"",
            "token=\\\"22222222222222222222222222222222\\\"",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn logs_are_kept_for_14_days() {
        let text = rotation(&Paths::default());
        assert!(text.contains("\"/var/log/convocate-agent/*.log\" {\n    daily\n    rotate 14\n"));
        assert_eq!(quoted(r#"a"b\c"#), r#""a\"b\\c""#);
    }
}
