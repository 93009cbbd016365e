//! Key files against the real `ssh-keygen`: it reads what we write, and we read what it writes.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64ct::{Base64, Encoding};
use convocate::ssh::keys::{AuthorizedKeys, KeyError, KeyPair, PublicKey};
use convocate::ssh::wire::put_string;
use sha2::{Digest, Sha512};
use support::Need;

/// An empty directory of this test's own.
fn directory(test: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ssh_keys").join(test);
    let _was_there = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("a directory for the test");
    directory
}

/// Writes a file as private as `ssh-keygen` demands of keys.
fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("the test's directory is writable");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
}

fn run(arguments: &[&str], file: &Path) -> Output {
    let mut command = Command::new("ssh-keygen");
    command.args(arguments).arg("-f").arg(file);
    command.output().expect("ssh-keygen runs: OpenSSH's client is installed")
}

/// What `ssh-keygen` prints, when it agrees.
fn ssh_keygen(arguments: &[&str], file: &Path) -> String {
    let output = run(arguments, file);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ssh-keygen {arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("ssh-keygen prints text")
}

fn read_pair(file: &Path) -> Result<KeyPair, KeyError> {
    KeyPair::parse_openssh(&fs::read(file).expect("the file was written"))
}

fn read_line(key: &Path) -> String {
    fs::read_to_string(key.with_extension("pub")).expect("ssh-keygen wrote a public key")
}

/// Comments of all lengths around the block, so that each length of padding is seen.
#[test]
fn ssh_keygen_reads_our_private_keys() {
    if !support::has("ssh_keygen_reads_our_private_keys", &[Need::Program("ssh-keygen")]) {
        return;
    }
    let directory = directory("reads_private");
    for chars in 0..9 {
        let comment = "c".repeat(usize::from(chars));
        let pair = KeyPair::from_seed([chars + 1; 32]);
        let file = directory.join(format!("key{chars}"));
        write(&file, &pair.to_openssh(&comment, 0x1234_5678));
        let line = ssh_keygen(&["-y"], &file);
        assert_eq!(line.trim_end(), pair.public().to_line(&comment));
    }
}

#[test]
fn ssh_keygen_reads_our_public_keys() {
    if !support::has("ssh_keygen_reads_our_public_keys", &[Need::Program("ssh-keygen")]) {
        return;
    }
    let file = directory("reads_public").join("key.pub");
    let pair = KeyPair::from_seed([42; 32]);
    write(&file, &format!("{}\n", pair.public().to_line("someone@somewhere")));
    let printed = ssh_keygen(&["-l"], &file);
    let expected = format!("256 {} someone@somewhere (ED25519)", pair.public().fingerprint());
    assert_eq!(printed.trim_end(), expected);
}

#[test]
fn a_key_with_a_passphrase_is_refused_until_it_has_none() {
    if !support::has(
        "a_key_with_a_passphrase_is_refused_until_it_has_none",
        &[Need::Program("ssh-keygen")],
    ) {
        return;
    }
    let file = directory("passphrase").join("key");
    let pair = KeyPair::from_seed([43; 32]);
    for cipher in ["aes256-ctr", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"] {
        write(&file, &pair.to_openssh("ours", 1));
        ssh_keygen(&["-p", "-P", "", "-N", "secret", "-Z", cipher, "-a", "1"], &file);
        assert_eq!(read_pair(&file).unwrap_err(), KeyError::Encrypted, "{cipher}");
        ssh_keygen(&["-p", "-P", "secret", "-N", ""], &file);
        assert_eq!(read_pair(&file).unwrap().public(), pair.public(), "{cipher}");
    }
}

#[test]
fn we_read_the_keys_of_ssh_keygen() {
    if !support::has("we_read_the_keys_of_ssh_keygen", &[Need::Program("ssh-keygen")]) {
        return;
    }
    let directory = directory("we_read");
    for (index, comment) in ["", "c", "a@b", "several words of a comment"].iter().enumerate() {
        let file = directory.join(format!("key{index}"));
        ssh_keygen(&["-q", "-t", "ed25519", "-N", "", "-C", comment], &file);
        let pair = read_pair(&file).unwrap();
        let line = read_line(&file);
        let (public, read_comment) = PublicKey::parse_line(&line).unwrap();
        assert_eq!(*pair.public(), public);
        assert_eq!(read_comment, *comment);
        assert_eq!(public.to_line(comment), line.trim_end());
        let printed = ssh_keygen(&["-l"], &file);
        assert_eq!(printed.split(' ').nth(1), Some(public.fingerprint().as_str()));
        assert_eq!(public.verify(b"message", &pair.sign(b"message")), Ok(()));
    }
}

#[test]
fn keys_of_other_kinds_are_named() {
    if !support::has("keys_of_other_kinds_are_named", &[Need::Program("ssh-keygen")]) {
        return;
    }
    let directory = directory("kinds");
    let mut authorized = String::new();
    for (kind, bits, name) in [("rsa", "2048", "ssh-rsa"), ("ecdsa", "256", "ecdsa-sha2-nistp256")]
    {
        let file = directory.join(kind);
        ssh_keygen(&["-q", "-t", kind, "-b", bits, "-N", ""], &file);
        let error = KeyError::Algorithm(name.to_owned());
        assert_eq!(read_pair(&file).unwrap_err(), error);
        let line = read_line(&file);
        assert_eq!(PublicKey::parse_line(&line).unwrap_err(), error);
        authorized.push_str(&line);
    }
    let ours = KeyPair::from_seed([44; 32]);
    authorized.push_str(&ours.public().to_line("ours"));
    let file = AuthorizedKeys::parse(&authorized);
    assert_eq!(file.problems.len(), 2);
    assert_eq!(file.find(ours.public()).unwrap().comment, "ours");
}

/// `ssh-keygen -l` takes keys with their options too, and sees the same keys as we do.
#[test]
fn we_read_authorized_keys_as_ssh_keygen_does() {
    if !support::has("we_read_authorized_keys_as_ssh_keygen_does", &[Need::Program("ssh-keygen")]) {
        return;
    }
    let file = directory("authorized").join("authorized_keys");
    let key = |seed| *KeyPair::from_seed([seed; 32]).public();
    let text = format!(
        "# comment\n\n{}\nrestrict,command=\"say \\\"hi, you\\\"\" {}\n  no-pty\t{}\n",
        key(1).to_line("first"),
        key(2).to_line("second"),
        key(3).to_line("third"),
    );
    write(&file, &text);
    let parsed = AuthorizedKeys::parse(&text);
    assert_eq!(parsed.problems, []);
    let ours: Vec<String> = parsed
        .keys
        .iter()
        .map(|line| format!("256 {} {} (ED25519)", line.key.fingerprint(), line.comment))
        .collect();
    assert_eq!(ours.len(), 3);
    let theirs = ssh_keygen(&["-l"], &file);
    assert_eq!(theirs.lines().collect::<Vec<_>>(), ours);
}

/// Ed25519 has no randomness, so two signatures over the same bytes are the same signature.
#[test]
fn ssh_keygen_signs_as_we_do() {
    if !support::has("ssh_keygen_signs_as_we_do", &[Need::Program("ssh-keygen")]) {
        return;
    }
    let directory = directory("signs");
    let pair = KeyPair::from_seed([45; 32]);
    let (key, message) = (directory.join("key"), directory.join("message"));
    write(&key, &pair.to_openssh("", 7));
    write(&message, "what is signed");
    let signed = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", "test", "-f"])
        .args([&key, &message])
        .output()
        .expect("ssh-keygen runs: OpenSSH's client is installed");
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
    let armored = fs::read_to_string(directory.join("message.sig")).unwrap();
    let base64: String = armored.lines().filter(|line| !line.starts_with('-')).collect();
    let file = Base64::decode_vec(&base64).expect("base64 between two lines of dashes");
    // The signature is the file's last string (OpenSSH PROTOCOL.sshsig).
    let signature = &file[file.len() - pair.sign(b"").len()..];

    let mut to_sign = b"SSHSIG".to_vec();
    for string in [&b"test"[..], b"", b"sha512", &Sha512::digest(b"what is signed")] {
        put_string(&mut to_sign, string);
    }
    assert_eq!(pair.sign(&to_sign), signature);
    assert_eq!(pair.public().verify(&to_sign, signature), Ok(()));
}
