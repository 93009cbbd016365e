//! The operator's own `ssh` to a host: its command lines, and what the host says about itself.
//!
//! Only words; a driver runs them. Everything that a person has set up holds: `~/.ssh/config`,
//! jumps, agents, hardware keys, known hosts and how strict they are. One connection is opened and
//! shared by every call. The host runs one of the constant scripts below: nothing that an operator
//! or a host says becomes a part of a script, except a directory that was checked.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::limits::{
    HOST_NAME_CHARS_MAX, PROVISION_ALIVE_COUNT, PROVISION_ALIVE_SECONDS, PROVISION_CONNECT_SECONDS,
    PROVISION_COPY_MINUTES_MAX, PROVISION_FREE_KIB_MIN, PROVISION_KEEP_SECONDS,
};

/// Where the copied program lies on a host, with six characters of `mktemp` behind it: in a
/// directory that only root enters, on a file system from which programs may be run.
const COPY_PREFIX: &str = "/var/lib/convocate-host.";
/// Characters that `mktemp` puts in place of the Xs.
const COPY_SUFFIX_CHARS: usize = 6;

/// Where a connection goes that is passed on, as ssh fills it in.
const RELAYED: &str = "%h:%p";

/// Behind this, and not before, stands what a script says: login shells print what they like.
const MARKER: &str = "convocate-host asks";

/// Rights for what follows: root's own, or by sudo without a password.
const RIGHTS: &str = r#"if [ "$(id -u)" = 0 ]; then as=; else as="sudo -n"; fi; "#;

/// What a host says about itself, and nothing is changed by it.
const PROBE: &str = "echo \"machine $(uname -m)\"; \
    sed -n \"s/^ID=/os /p; s/^VERSION_ID=/version /p\" /etc/os-release; \
    echo \"free $(df -Pk /var | sed -n 2p)\"; \
    echo \"connection $SSH_CONNECTION\"; \
    echo \"boot $(cat /proc/sys/kernel/random/boot_id)\"; \
    if [ \"$(id -u)\" = 0 ] || why=$(LC_ALL=C sudo -n true 2>&1 </dev/null); \
    then echo \"rights yes\"; else echo \"rights no $why\"; fi";

/// Copies a program from standard input to a directory of root's, and prints which and its hash.
/// Removes what runs that were killed have left there long ago. Nobody but `tee` may read standard
/// input: a sudo that logs takes all that it finds there.
const UPLOAD: &str = "umask 077; \
    $as find /var/lib -maxdepth 1 -name \"convocate-host.??????\" -mmin \"+$age\" \
    -exec rm -rf -- {} + </dev/null; \
    directory=$($as mktemp -d /var/lib/convocate-host.XXXXXX </dev/null) || exit 1; \
    $as tee \"$directory/program\" >/dev/null || exit 1; \
    $as chmod 0700 \"$directory/program\" </dev/null || exit 1; \
    $as \"$directory/program\" version </dev/null >/dev/null || \
    { $as rm -rf \"$directory\" </dev/null; echo unfit; exit 1; }; \
    echo \"directory $directory\"; \
    $as sha256sum \"$directory/program\" </dev/null";

/// What the operator has set up for his own sessions on a host and not for ours.
const OVERRULED: [&str; 2] = ["RemoteCommand=none", "ClearAllForwardings=yes"];
/// The same, which no ssh before 8.7 knows.
const OVERRULED_SINCE_8_7: [&str; 3] =
    ["SessionType=default", "StdinNull=no", "ForkAfterAuthentication=no"];

/// Which host, and who is to log in there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    host: String,
    user: Option<String>,
    /// What must be free below /var.
    free_kib: u64,
}

/// The operator's `ssh` to one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ssh {
    pub(crate) target: Target,
    /// The socket of the connection that is shared.
    pub(crate) control: PathBuf,
    /// Whose ssh it is, when root runs this for somebody by sudo.
    pub(crate) operator: Option<String>,
    /// The socket of that person's agent, which sudo keeps from us.
    pub(crate) agent: Option<String>,
    /// Whether it is as new as 8.7.
    pub(crate) is_recent: bool,
}

/// What a host is, before anything is changed on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    /// Its processor, as `uname -m` names it.
    pub(crate) machine: String,
    /// Which boot it is in.
    pub(crate) boot_id: String,
    /// The port that its sshd was reached on.
    pub(crate) ssh_port: u16,
}

/// Why a host is not provisioned. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostFault {
    /// It did not print this of itself.
    Silent(&'static str),
    /// No program of ours runs on it.
    Machine(String),
    /// A system that is not provided for.
    System(String),
    /// No root's rights without a password.
    Rights,
    /// No root's rights without a terminal.
    Terminal,
    /// KiB that are free below /var.
    Full(u64),
}

impl Target {
    /// Checks what the operator gave.
    ///
    /// # Errors
    /// One sentence, if `ssh` would take it for something else.
    pub(crate) fn new(host: &str, user: Option<&str>) -> Result<Target, String> {
        let is_word = |text: &str, max: usize| {
            !text.is_empty()
                && text.len() <= max
                && !text.starts_with('-')
                && text.chars().all(|sign| sign.is_ascii_graphic())
        };
        if !is_word(host, HOST_NAME_CHARS_MAX) {
            return Err(format!("--host: {host:?} is no host, nor an alias of ~/.ssh/config"));
        }
        if let Some(user) = user.filter(|user| !is_word(user, HOST_NAME_CHARS_MAX)) {
            return Err(format!("--user: {user:?} is no user's name"));
        }
        Ok(Target { host: host.to_owned(), user: user.map(str::to_owned), free_kib: 0 })
    }

    /// The same for work that writes much, as packages and images.
    #[must_use]
    pub(crate) fn with_room(self) -> Target {
        Target { free_kib: PROVISION_FREE_KIB_MIN, ..self }
    }

    /// The host as the operator gave it.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }
}

impl Ssh {
    /// A call that runs a script on the host. The first one opens the connection, and the operator
    /// may be asked what his ssh asks.
    fn call(&self, script: &str) -> Vec<String> {
        self.words(&["-T"], &[&in_sh(script)])
    }

    /// A call whose output is [`framed`].
    fn ask(&self, script: &str) -> Vec<String> {
        self.call(&format!("echo \"{MARKER}\"; {script}"))
    }

    /// Asks the host what it is: [`Probe::parse`].
    pub(crate) fn probe(&self) -> Vec<String> {
        self.ask(PROBE)
    }

    /// Copies the program that comes on standard input: [`parse_upload`].
    pub(crate) fn upload(&self) -> Vec<String> {
        self.ask(&format!("{RIGHTS}age={PROVISION_COPY_MINUTES_MAX}; {UPLOAD}"))
    }

    /// Opens the connection and nothing on it, in the background. The operator may be asked what
    /// his ssh asks.
    pub(crate) fn open(&self) -> Vec<String> {
        self.words(&["-f", "-N"], &[])
    }

    /// Runs a command of the copied program, which stays for further ones until [`Ssh::clean`], but
    /// for what is wanted when it fails.
    pub(crate) fn run(&self, copy: &Copied, command: &str, after: AfterRun) -> Vec<String> {
        let directory = copy.directory.display();
        let is_needless = match after {
            AfterRun::Keep => {
                return self.call(&format!("{RIGHTS}exec $as {directory}/program {command}"));
            }
            AfterRun::RemoveFailed => "[ $status != 0 ]",
            AfterRun::Remove => "true",
        };
        self.call(&format!(
            "{RIGHTS}$as {directory}/program {command}; status=$?; \
             if {is_needless}; then $as rm -rf {directory}; fi; exit $status"
        ))
    }

    /// Runs a command of a program that is installed there.
    pub(crate) fn run_installed(&self, program: Installed, command: &str) -> Vec<String> {
        let Installed(name) = program;
        self.call(&format!("{RIGHTS}$as /usr/local/bin/{name} {command}"))
    }

    /// Says how the operator's configuration understands the host: [`parse_host_name`]. Nothing is
    /// dialled.
    pub(crate) fn settings(&self) -> Vec<String> {
        let mut words = self.program();
        words.push("-G".to_owned());
        words.extend(self.destination());
        words
    }

    /// Removes the copied program.
    pub(crate) fn clean(&self, copy: &Copied) -> Vec<String> {
        self.call(&format!("{RIGHTS}$as rm -rf {}", copy.directory.display()))
    }

    /// Restarts the host. The connection may be gone before there is an answer.
    pub(crate) fn restart(&self) -> Vec<String> {
        self.call(&format!("{RIGHTS}$as systemctl reboot"))
    }

    /// Asks which boot the host is in, over a connection of its own and without asking a person.
    pub(crate) fn boot_id(&self) -> Vec<String> {
        let mut words = self.program();
        words.extend(["-T", "-o", "ControlPath=none", "-o", "BatchMode=yes"].map(String::from));
        words.extend(self.patience());
        words.extend(self.destination());
        let script = "echo \"boot $(cat /proc/sys/kernel/random/boot_id)\"";
        words.push(in_sh(&format!("echo \"{MARKER}\"; {script}")));
        words
    }

    /// Closes the shared connection.
    pub(crate) fn close(&self) -> Vec<String> {
        self.words(&["-O", "exit"], &[])
    }

    fn words(&self, before: &[&str], behind: &[&str]) -> Vec<String> {
        let mut words = self.program();
        words.extend(before.iter().map(|&word| word.to_owned()));
        words.extend(["-o", "ControlMaster=auto"].map(String::from));
        words.extend(["-o".to_owned(), format!("ControlPath={}", self.control.display())]);
        words.extend(["-o".to_owned(), format!("ControlPersist={PROVISION_KEEP_SECONDS}")]);
        words.extend(self.patience());
        words.extend(self.destination());
        words.extend(behind.iter().map(|&word| word.to_owned()));
        words
    }

    /// What the operator's shell runs to reach another host through the open connection: a
    /// `ProxyCommand`, in which ssh itself puts that host's name.
    pub(crate) fn relay(&self) -> String {
        // The outer ssh is the operator's already.
        let own = Ssh { operator: None, ..self.clone() };
        let words = own.words(&["-q", "-W", RELAYED], &[]);
        let shown = words.iter().map(|word| match word == RELAYED {
            true => word.clone(),
            false => quoted(&word.replace('%', "%%")),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    /// `ssh`, as the operator.
    pub(crate) fn program(&self) -> Vec<String> {
        match &self.operator {
            Some(user) => {
                let mut words = ["sudo", "-n", "-H", "-u", user, "--"].map(String::from).to_vec();
                if let Some(agent) = &self.agent {
                    words.extend(["env".to_owned(), format!("SSH_AUTH_SOCK={agent}")]);
                }
                words.push("ssh".to_owned());
                words
            }
            None => vec!["ssh".to_owned()],
        }
    }

    /// A host that says nothing is given up, before and after the connection is there. And what is
    /// meant for the operator's own sessions is none of ours.
    pub(crate) fn patience(&self) -> Vec<String> {
        let patience = [
            format!("ConnectTimeout={PROVISION_CONNECT_SECONDS}"),
            format!("ServerAliveInterval={PROVISION_ALIVE_SECONDS}"),
            format!("ServerAliveCountMax={PROVISION_ALIVE_COUNT}"),
        ];
        let recent = OVERRULED_SINCE_8_7.iter().filter(|_| self.is_recent);
        let overruled = OVERRULED.iter().chain(recent).map(ToString::to_string);
        patience.into_iter().chain(overruled).flat_map(|it| ["-o".to_owned(), it]).collect()
    }

    fn destination(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(user) = &self.target.user {
            words.extend(["-l".to_owned(), user.clone()]);
        }
        words.extend(["--".to_owned(), self.target.host.clone()]);
        words
    }
}

impl Probe {
    /// Reads what the probe said.
    ///
    /// # Errors
    /// [`HostFault`], if the host cannot be provisioned.
    pub(crate) fn parse(text: &str, target: &Target) -> Result<Probe, HostFault> {
        let (all, text) = (text, framed(text));
        let value = |name: &'static str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            let found = lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim());
            found.filter(|value| !value.is_empty()).ok_or(HostFault::Silent(name))
        };
        let machine = value("machine")?;
        if !["x86_64", "aarch64"].contains(&machine) {
            return Err(HostFault::Machine(machine.to_owned()));
        }
        check_system(value("os")?.trim_matches('"'), value("version")?.trim_matches('"'))?;
        match value("rights")? {
            "yes" => {}
            why if why.contains("have a tty") => return Err(HostFault::Terminal),
            _ => return Err(HostFault::Rights),
        }
        let free = value("free")?.split_whitespace().nth(3).and_then(|kib| kib.parse().ok());
        let free: u64 = free.ok_or(HostFault::Silent("free"))?;
        if free < target.free_kib {
            return Err(HostFault::Full(free));
        }
        let port =
            value("connection")?.split_whitespace().nth(3).and_then(|port| port.parse().ok());
        Ok(Probe {
            machine: machine.to_owned(),
            boot_id: parse_boot_id(all).ok_or(HostFault::Silent("boot"))?.to_owned(),
            ssh_port: port.ok_or(HostFault::Silent("connection"))?,
        })
    }
}

/// A script for a login shell of any kind. Single quotes are the only quoting: no script has one,
/// nor a line's end, which csh takes for the end of what is quoted.
fn in_sh(script: &str) -> String {
    format!("sh -c '{script}'")
}

/// What a script has said, without what its login shell said before.
fn framed(text: &str) -> &str {
    text.split_once(MARKER).map_or("", |(_, said)| said)
}

/// The boot id out of what [`Ssh::boot_id`] or [`Ssh::probe`] gave; nothing else is one.
pub(crate) fn parse_boot_id(text: &str) -> Option<&str> {
    let id = framed(text).lines().find_map(|line| line.strip_prefix("boot "))?.trim();
    let is_id = id.len() == 36 && id.bytes().all(|it| it == b'-' || it.is_ascii_hexdigit());
    is_id.then_some(id)
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte);
    match !word.is_empty() && word.bytes().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Whether a system is one of those that are provided for, by `ID` and `VERSION_ID` of os-release.
///
/// # Errors
/// [`HostFault::System`], if not.
pub(crate) fn check_system(id: &str, version: &str) -> Result<(), HostFault> {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let version_number: (u32, u32) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    let is_known = match id {
        "ubuntu" => version_number >= (22, 4),
        "debian" => version_number >= (12, 0),
        _ => false,
    };
    if is_known { Ok(()) } else { Err(HostFault::System(format!("{id} {version}"))) }
}

/// The name that is dialled for a host, out of what `ssh -G` says: an alias stands for it.
pub(crate) fn parse_host_name(settings: &str) -> Option<&str> {
    let mut lines = settings.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(key, _)| *key == "hostname").map(|(_, name)| name.trim())
}

/// What is to become of a copied program after a run, also if the connection was lost. The host
/// itself removes it: that needs no further call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterRun {
    Keep,
    /// If the run failed, nobody runs it again.
    RemoveFailed,
    /// It was the last run.
    Remove,
}

/// A program of ours in its installed place, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Installed(pub(crate) &'static str);

/// The program on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    directory: PathBuf,
    /// Its SHA-256 in hexadecimal, as the host sees it.
    pub(crate) hash: String,
}

/// Reads where the program lies, and what arrived. `None` if that was not said.
pub(crate) fn parse_upload(text: &str) -> Option<Copied> {
    let text = framed(text);
    let directory = text.lines().find_map(|line| line.strip_prefix("directory "))?;
    let suffix = directory.strip_prefix(COPY_PREFIX)?;
    let is_plain = suffix.len() == COPY_SUFFIX_CHARS
        && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let program = Path::new(directory).join("program");
    let hash = text.lines().find_map(|line| {
        let (hash, path) = line.split_once(char::is_whitespace)?;
        (Path::new(path.trim()) == program).then(|| hash.to_owned())
    })?;
    is_plain.then(|| Copied { directory: PathBuf::from(directory), hash })
}

impl fmt::Display for HostFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostFault::Silent(what) => {
                write!(out, "it does not report its {what}; is it a Linux host with a shell?")
            }
            HostFault::Machine(machine) => {
                write!(out, "its processor is {machine}; x86_64 and aarch64 are supported")
            }
            HostFault::System(system) => {
                write!(out, "it runs {system}; Ubuntu 22.04 or Debian 12 and later are supported")
            }
            HostFault::Rights => out.write_str(
                "the user who logs in may not run sudo without a password; allow it (NOPASSWD in \
                 /etc/sudoers.d), or log in as another one with --user",
            ),
            HostFault::Terminal => out.write_str(
                "sudo there wants a terminal; add to /etc/sudoers.d, with the user who logs in: \
                 Defaults:USER !requiretty",
            ),
            HostFault::Full(free) => write!(
                out,
                "only {} MiB are free below /var, and {} are needed",
                free / 1024,
                PROVISION_FREE_KIB_MIN / 1024
            ),
        }
    }
}

impl std::error::Error for HostFault {}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "machine of the banner\nconvocate-host asks\n\
        machine x86_64\nversion \"12\"\nos debian\n\
        free /dev/sda1 41152736 9663680 29366464 25% /\n\
        connection 10.0.0.1 50000 10.0.0.2 2222\n\
        boot 6d1f4b54-0000-4000-8000-000000000000\nrights yes\n";

    fn ssh(user: Option<&str>, operator: Option<&str>) -> Ssh {
        Ssh {
            target: Target::new("web-1", user).expect("a host"),
            control: PathBuf::from("/run/user/1/c"),
            operator: operator.map(str::to_owned),
            agent: None,
            is_recent: true,
        }
    }

    fn parse(text: &str) -> Result<Probe, HostFault> {
        Probe::parse(text, &Target::new("web-1", None).expect("a host").with_room())
    }

    #[test]
    fn a_host_that_is_fit_says_what_it_is() {
        let probe = parse(GOOD).expect("it is fit");
        assert_eq!((probe.machine.as_str(), probe.ssh_port), ("x86_64", 2222));
    }

    #[test]
    fn each_fault_is_named() {
        for (from, to, fault) in [
            ("x86_64", "riscv64", HostFault::Machine("riscv64".into())),
            ("debian", "fedora", HostFault::System("fedora 12".into())),
            ("\"12\"", "\"11\"", HostFault::System("debian 11".into())),
            ("rights yes", "rights no", HostFault::Rights),
            ("rights yes", "rights no sudo: sorry, you must have a tty", HostFault::Terminal),
            ("29366464", "1024", HostFault::Full(1024)),
            ("boot ", "boat ", HostFault::Silent("boot")),
            ("boot ", "boot Last login: ", HostFault::Silent("boot")),
            (
                "connection 10.0.0.1 50000 10.0.0.2 2222",
                "connection ",
                HostFault::Silent("connection"),
            ),
        ] {
            assert_eq!(parse(&GOOD.replace(from, to)), Err(fault), "{to}");
        }
        assert_eq!(parse(""), Err(HostFault::Silent("machine")));
        for (id, version, is_known) in [
            ("ubuntu", "22.04", true),
            ("ubuntu", "24.10", true),
            ("ubuntu", "20.04", false),
            ("debian", "13", true),
            ("debian", "", false),
        ] {
            assert_eq!(check_system(id, version).is_ok(), is_known, "{id} {version}");
        }
    }

    #[test]
    fn what_ssh_would_take_for_an_option_is_no_host() {
        for host in ["", "-oProxyCommand=x", "a b", "a\nb", &"a".repeat(300)] {
            assert!(Target::new(host, None).is_err(), "{host}");
        }
        assert!(Target::new("a", Some("-l")).is_err());
        assert!(Target::new("fd00::1", Some("root")).is_ok());
    }

    #[test]
    fn the_operators_own_ssh_is_called_with_one_connection() {
        let words = ssh(None, None).close().join(" ");
        assert_eq!(
            words,
            "ssh -O exit -o ControlMaster=auto -o ControlPath=/run/user/1/c \
             -o ControlPersist=60 -o ConnectTimeout=15 -o ServerAliveInterval=15 \
             -o ServerAliveCountMax=3 -o RemoteCommand=none -o ClearAllForwardings=yes \
             -o SessionType=default -o StdinNull=no -o ForkAfterAuthentication=no -- web-1"
        );
        let old = Ssh { is_recent: false, ..ssh(None, None) };
        assert!(!old.close().contains(&"StdinNull=no".to_owned()));
        let sudo = Ssh { agent: Some("/tmp/a".to_owned()), ..ssh(None, Some("ann")) };
        let agent = ["env", "SSH_AUTH_SOCK=/tmp/a", "ssh"];
        assert_eq!(sudo.program()[6..], agent.map(str::to_owned));
        let words = ssh(Some("root"), Some("ann")).probe();
        assert_eq!(words[..7], ["sudo", "-n", "-H", "-u", "ann", "--", "ssh"]);
        assert!(words.join(" ").contains(" -l root -- web-1 sh -c '"));
        let settings = "user ann\nhostname 10.0.0.2\nport 22\n";
        assert_eq!(parse_host_name(settings), Some("10.0.0.2"));
        // A new connection shows that the host itself is back.
        assert!(ssh(None, None).boot_id().contains(&"ControlPath=none".to_owned()));
    }

    /// The scripts are put between single quotes, so none may have one; csh ends them at a line's
    /// end.
    #[test]
    fn every_login_shell_hands_the_scripts_on() {
        for script in [RIGHTS, PROBE, UPLOAD] {
            assert!(!script.contains(['\'', '\n']), "{script}");
        }
        let said = "hello\nconvocate-host asks\nboot 6d1f4b54-0000-4000-8000-000000000000\nbye\n";
        assert_eq!(parse_boot_id(said), Some("6d1f4b54-0000-4000-8000-000000000000"));
        assert_eq!(parse_boot_id("hello\n"), None);
        assert_eq!(parse_boot_id("hello\nconvocate-host asks\nboot hello\n"), None);
    }

    #[test]
    fn only_a_directory_of_ours_goes_into_a_script() {
        let text = "convocate-host asks\ndirectory /var/lib/convocate-host.aB3xY9\n\
                    00ff  /var/lib/convocate-host.aB3xY9/program\n";
        let copy = parse_upload(text).expect("that is one");
        assert_eq!(copy.hash, "00ff");
        let script = |after| {
            let words = ssh(None, None).run(&copy, "install --request", after);
            words.last().expect("a script").clone()
        };
        let run = "$as /var/lib/convocate-host.aB3xY9/program install --request";
        let removal = "then $as rm -rf /var/lib/convocate-host.aB3xY9; fi; exit $status";
        for (after, condition) in [
            (AfterRun::Keep, None),
            (AfterRun::RemoveFailed, Some("if [ $status != 0 ]; ")),
            (AfterRun::Remove, Some("if true; ")),
        ] {
            let script = script(after);
            assert!(script.contains(run), "{script}");
            let removes = condition.map(|condition| format!("{condition}{removal}"));
            assert_eq!(script.contains(removal), removes.is_some(), "{script}");
            assert!(removes.is_none_or(|removes| script.contains(&removes)), "{script}");
        }
        for wrong in ["/var/lib/convocate-host.a;b3xY", "/etc", "/var/lib/convocate-host."] {
            assert_eq!(parse_upload(&text.replace("/var/lib/convocate-host.aB3xY9", wrong)), None);
        }
        assert_eq!(
            parse_upload("convocate-host asks\ndirectory /var/lib/convocate-host.aB3xY9\n"),
            None
        );
    }
}
