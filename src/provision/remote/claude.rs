//! The Claude CLI on its way from the operator's machine to an agent's host.
//!
//! The host says what it has by its hash, so that the same bytes never travel twice.

use std::env;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;

use super::event::{HostEvent, Tell};
use super::session::HostSession;
use super::{HostError, RemoteError};
use crate::agent::claude_settings::ClaudeLogin;
use crate::base::text::printable;
use crate::io::disk::{self, Links};
use crate::limits::{
    CLAUDE_LOGIN_BYTES_MAX, CLAUDE_MANIFEST_BYTES_MAX, CLAUDE_PROGRAM_BYTES_MAX,
    CLAUDE_RELEASE_CHARS_MAX,
};
use crate::provision::enrol::messages::{
    ClaudeRelease, InstalledClaude, ReceiveClaude, SecretText,
};
use crate::provision::goal::download::curl;
use crate::provision::report::StepLine;
use crate::provision::run::receive_claude::sha256_of;
use crate::provision::vm::spec::Sha256Hex;
use crate::rpc::session::claude_missing;

/// Where its publisher has all versions, each with a list of checksums: `VERSION/manifest.json`.
const PUBLISHER: &str = "https://downloads.claude.ai/claude-code-releases";

/// The program's file here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaudeFile {
    path: PathBuf,
    kind: ProgramKind,
    bytes: u64,
    sha256: String,
}

/// What a file begins like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProgramKind {
    /// For this processor, as `uname -m` names it.
    Elf(&'static str),
    Script,
}

/// Which file the operator wants there.
#[derive(Clone, Debug)]
pub(crate) enum ClaudeChoice {
    Given(ClaudeFile),
    /// What the host fetches by itself: the version, and where its publisher lists it.
    Released {
        version: String,
        from: String,
    },
    /// The one on this machine's `PATH`, if it is a program and not a script with parts beside it.
    Own(Option<ClaudeFile>),
}

impl ClaudeChoice {
    /// The named file, or what is on `PATH`.
    ///
    /// # Errors
    /// Why the named file is no program.
    pub(crate) fn of(given: Option<&str>) -> Result<ClaudeChoice, String> {
        if let Some(path) = given {
            return ClaudeFile::open(Path::new(path)).map(ClaudeChoice::Given);
        }
        let directories = env::var_os("PATH").unwrap_or_default();
        let mut files = env::split_paths(&directories).map(|it| it.join("claude"));
        let own = files.find(|path| path.is_file()).and_then(|path| ClaudeFile::open(&path).ok());
        Ok(ClaudeChoice::Own(own.filter(|file| file.kind != ProgramKind::Script)))
    }
}

/// Whether nobody on the way can change what is fetched from there: also from this machine.
fn is_sealed(from: &str) -> bool {
    let host = from.strip_prefix("http://").and_then(|rest| rest.split(['/', ':']).next());
    from.starts_with("https://") || host.is_some_and(|host| host == "127.0.0.1")
}

impl ClaudeChoice {
    /// A version of its publisher's, or of a mirror's.
    ///
    /// # Errors
    /// When that is no version.
    pub(crate) fn released(version: &str, from: Option<&str>) -> Result<ClaudeChoice, String> {
        let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        let is_fit =
            version.bytes().all(is_sign) && version.starts_with(|it: char| it.is_ascii_digit());
        if !is_fit || version.len() > CLAUDE_RELEASE_CHARS_MAX {
            return Err(format!("--claude-version: {version:?} is no version as 2.1.332"));
        }
        let from = from.unwrap_or(PUBLISHER).trim_end_matches('/').to_owned();
        if !is_sealed(&from) {
            return Err(format!(
                "--claude-from: {from:?} must begin with https://; over http, whoever is on the \
                 way could change the program and its checksum alike"
            ));
        }
        Ok(ClaudeChoice::Released { version: version.to_owned(), from })
    }

    /// What a host with this processor is to fetch, if it is to; asks the publisher.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn release(&self, machine: &str) -> Result<Option<ClaudeRelease>, String> {
        let ClaudeChoice::Released { version, from } = self else { return Ok(None) };
        let url = format!("{from}/{version}/manifest.json");
        let limit = CLAUDE_MANIFEST_BYTES_MAX.to_string();
        let call = curl();
        let done = std::process::Command::new(&call.program)
            .args(&call.arguments)
            .args(["--max-time", "60", "--max-filesize", &limit, "--", &url])
            .output()
            .map_err(|error| format!("curl: {error}"))?;
        if !done.status.success() {
            let why = String::from_utf8_lossy(&done.stderr);
            return Err(printable(why.lines().last().unwrap_or("curl failed")).into_owned());
        }
        let listed = listed(&done.stdout, version, machine);
        let (platform, sha256) = listed.map_err(|why| format!("{url} {why}"))?;
        let url = format!("{from}/{version}/{platform}/claude");
        Ok(Some(ClaudeRelease { version: version.clone(), url, sha256 }))
    }
}

/// What a list of a version says of the program for a processor: its directory and its checksum.
fn listed(
    list: &[u8],
    version: &str,
    machine: &str,
) -> Result<(&'static str, Sha256Hex), &'static str> {
    let list: Value = serde_json::from_slice(list).map_err(|_| "is no list of a version")?;
    if list["version"] != version {
        return Err("is the list of another version");
    }
    let platform = match machine {
        "x86_64" => "linux-x64",
        "aarch64" => "linux-arm64",
        _ => return Err("has nothing for that host's processor"),
    };
    let sha256 = list["platforms"][platform]["checksum"].as_str();
    let sha256 = sha256.and_then(|text| Sha256Hex::parse(text).ok());
    Ok((platform, sha256.ok_or("has no checksum for that host's processor")?))
}

impl ClaudeFile {
    /// Follows links to the file itself, and reads all of it.
    fn open(path: &Path) -> Result<ClaudeFile, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let path = path.canonicalize().map_err(|error| failed(&error))?;
        let mut file = File::open(&path).map_err(|error| failed(&error))?;
        let found = file.metadata().map_err(|error| failed(&error))?;
        if !found.is_file() || found.len() > CLAUDE_PROGRAM_BYTES_MAX {
            return Err(failed(&"is no file, or too large for a program"));
        }
        let mut head = Vec::new();
        file.by_ref().take(20).read_to_end(&mut head).map_err(|error| failed(&error))?;
        let kind = ProgramKind::of(&head)
            .ok_or_else(|| failed(&"is neither a program for x86_64 or aarch64 nor a script"))?;
        let (bytes, sha256) = sha256_of(&path).map_err(|error| failed(&error))?;
        Ok(ClaudeFile { path, kind, bytes, sha256 })
    }

    /// Whether a host with this processor can run it.
    fn fits(&self, machine: &str) -> bool {
        match self.kind {
            ProgramKind::Elf(kind) => kind == machine,
            ProgramKind::Script => true,
        }
    }
}

impl ProgramKind {
    fn of(head: &[u8]) -> Option<ProgramKind> {
        if head.starts_with(b"#!") {
            return Some(ProgramKind::Script);
        }
        // 64 bits, little-endian; `e_machine` of the ELF specification.
        match (head.starts_with(b"\x7fELF\x02\x01"), head.get(18..20)) {
            (true, Some([62, 0])) => Some(ProgramKind::Elf("x86_64")),
            (true, Some([183, 0])) => Some(ProgramKind::Elf("aarch64")),
            _ => None,
        }
    }
}

/// Reads the operator's file of a login.
///
/// # Errors
/// When others may read it, or it is none. Nothing of it is in the sentence.
pub(crate) fn read_login(path: &str) -> Result<SecretText, String> {
    let file = Path::new(path);
    let found = disk::look(file).map_err(|error| error.to_string())?;
    let mode = found.map_or(0, |found| found.mode);
    if mode & 0o077 != 0 {
        return Err(format!(
            "{path} has mode {mode:04o}, so others could read it; run: chmod 0600 {path}"
        ));
    }
    let bytes = disk::read_bounded(file, CLAUDE_LOGIN_BYTES_MAX, Links::Refuse);
    let bytes = zeroize::Zeroizing::new(bytes.map_err(|error| error.to_string())?);
    let login = ClaudeLogin::parse(&bytes).map_err(|why| format!("{path} {why}"))?;
    Ok(SecretText(String::from_utf8_lossy(&login.to_bytes()).trim_end().to_owned()))
}

/// Makes a host have the program, as a step of its report, if it can be had. Whether that changes
/// something.
///
/// # Errors
/// [`RemoteError::StepsFailed`] when the file that was named cannot be put there.
pub(crate) fn bring_claude(
    session: &mut HostSession<'_>,
    choice: &ClaudeChoice,
    there: Option<&InstalledClaude>,
    check: bool,
    tell: &mut Tell<'_>,
) -> Result<bool, HostError> {
    let machine = session.probe().map_or(env::consts::ARCH, |probe| &probe.machine).to_owned();
    let file = match choice {
        ClaudeChoice::Given(file) => file,
        // It has taken care of itself.
        ClaudeChoice::Released { .. } => return Ok(false),
        ClaudeChoice::Own(Some(file)) if file.fits(&machine) => file,
        ClaudeChoice::Own(_) => {
            let text = match there {
                Some(_) => "claude there is left as it is: no claude here is for that host".into(),
                None => claude_missing(&session.name),
            };
            let _heard = tell(&session.name, HostEvent::Note(text));
            return Ok(false);
        }
    };
    let name = "program /usr/local/bin/claude";
    let begun = Instant::now();
    session.begin_step(name, tell)?;
    let is_there = there.is_some_and(|there| there.is_right && there.sha256 == file.sha256);
    let brought = match (is_there, file.fits(&machine)) {
        (true, _) => Ok(()),
        (false, false) => Err(format!("{} is not for {machine}", file.path.display())),
        (false, true) if check => Ok(()),
        (false, true) => send(session, file)?,
    };
    let advice = "run it again: it is sent anew; or name another file with --claude";
    let mut line = StepLine::shown(name, brought.as_ref().err(), advice, begun.elapsed());
    if brought.is_ok() && !is_there {
        let (path, size) = (file.path.display(), file.bytes >> 20);
        line.has_changed(&format!("put {path} there ({size} MiB)"), check);
    }
    session.end_step(line, tell)?;
    match brought {
        Ok(()) => Ok(!is_there),
        Err(_) if check => Ok(false),
        Err(_) => Err(RemoteError::StepsFailed.on(&session.name)),
    }
}

/// Sends the file. Why the host did not take it, if it did not.
fn send(session: &mut HostSession<'_>, file: &ClaudeFile) -> Result<Result<(), String>, HostError> {
    let mut input = match File::open(&file.path) {
        Ok(input) => input.take(file.bytes),
        Err(error) => return Ok(Err(format!("{}: {error}", file.path.display()))),
    };
    let request = ReceiveClaude { bytes: file.bytes, sha256: file.sha256.clone() };
    let words = session.words("receive-claude --request");
    let report = session.run_words_from(&words, &request, &mut input, &mut |_, _| true)?;
    Ok(match report.answer["error"].as_str() {
        None if report.is_done => Ok(()),
        error => Err(error.unwrap_or("the host did not take it").to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::io::scratch::Scratch;

    #[test]
    fn programs_are_known_by_their_first_bytes() {
        let elf = |machine: u8| {
            let mut head = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0".to_vec();
            head.extend([machine, 0]);
            ProgramKind::of(&head)
        };
        assert_eq!(elf(62), Some(ProgramKind::Elf("x86_64")));
        assert_eq!(elf(183), Some(ProgramKind::Elf("aarch64")));
        assert_eq!((elf(40), ProgramKind::of(b"\x7fELF")), (None, None));
        assert_eq!(ProgramKind::of(b"#!/bin/sh\n"), Some(ProgramKind::Script));
        assert_eq!(ProgramKind::of(b"MZ"), None);
    }

    #[test]
    fn a_published_checksum_is_taken_for_the_processor() {
        let sum = "ab".repeat(32);
        let list = format!(
            r#"{{"version":"2.1.3","platforms":{{"linux-x64":{{"checksum":"{sum}","size":1}},
            "linux-arm64":{{"checksum":"12"}}}}}}"#
        );
        let listed = |version, machine| listed(list.as_bytes(), version, machine);
        let found = listed("2.1.3", "x86_64");
        assert_eq!(
            found.map(|(platform, sum)| (platform, sum.as_str().to_owned())),
            Ok(("linux-x64", sum))
        );
        for (version, machine) in [("2.1.4", "x86_64"), ("2.1.3", "aarch64"), ("2.1.3", "riscv64")]
        {
            assert!(listed(version, machine).is_err(), "{version} {machine}");
        }
        for version in ["", "latest", "../2", "2/1", &"1".repeat(99)] {
            assert!(ClaudeChoice::released(version, None).is_err(), "{version}");
        }
        for (from, is_fit) in [
            ("https://mirror/", true),
            ("http://127.0.0.1:8080/x", true),
            ("http://mirror/", false),
            ("http://127.0.0.1@mirror/", false),
            ("http://127.0.0.1.mirror/", false),
            ("file:///x", false),
        ] {
            assert_eq!(ClaudeChoice::released("2.1.332", Some(from)).is_ok(), is_fit, "{from}");
        }
    }

    #[test]
    fn a_file_is_found_behind_its_link() {
        let scratch = Scratch::new();
        let (file, link) = (scratch.join("claude-1"), scratch.join("claude"));
        fs::write(&file, "#!/bin/sh\n").unwrap();
        symlink(&file, &link).unwrap();
        let found = ClaudeFile::open(&link).unwrap();
        assert_eq!((found.path.as_path(), found.bytes), (file.as_path(), 10));
        assert!(found.fits("x86_64") && found.sha256.len() == 64);
        fs::write(&file, "hello").unwrap();
        assert!(ClaudeFile::open(&link).unwrap_err().contains("neither"));
        assert!(ClaudeFile::open(scratch.path()).unwrap_err().contains("no file"));
    }

    #[test]
    fn a_login_that_others_read_is_refused_and_none_is_printed() {
        let scratch = Scratch::new();
        let path = scratch.join("token");
        let text = path.display().to_string();
        let set = |content: &str, mode| {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            read_login(&text)
        };
        let token = "sk-ant-oat01-abcdefghijklmnop";
        assert_eq!(set(&format!("{token}\n"), 0o600), Ok(SecretText(token.to_owned())));
        let exposed = set(token, 0o604).unwrap_err();
        assert!(exposed.ends_with(&format!("run: chmod 0600 {text}")), "{exposed}");
        let other = set("hush-hush-hush-hush-hush-hush", 0o600).unwrap_err();
        assert!(other.contains("is neither") && !other.contains("hush"), "{other}");
        fs::remove_file(&path).unwrap();
        assert!(read_login(&text).is_err());
    }
}
