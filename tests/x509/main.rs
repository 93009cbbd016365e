//! Our certificates, requests and keys before other people's readers: OpenSSL, GnuTLS, the verifier
//! of Rust's TLS stack, Python's `cryptography`, and a linter.
//!
//! Each is shown what is good, and the wrong authority, the wrong time and the wrong name.

#[path = "../support/mod.rs"]
mod support;

mod files;
mod webpki_says;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use convocate::base::time::Wall;
use files::{AGENT, EXPIRED, Files, LATER, NOW, OTHER_AGENT, SERVER, SERVER_NUMBER};
use support::Need;

/// A program of the Python environment that `install.sh` makes; `None` if it is not there.
fn python_program(test: &str, name: &str) -> Option<PathBuf> {
    // Where cargo puts its own files is a directory below the target directory.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("tmp has a parent");
    let program = target.join("x509-venv/bin").join(name);
    if !program.is_file() {
        support::skip(test, &format!("program: {name}: tests/x509/install.sh has not run"));
        return None;
    }
    Some(program)
}

/// `openssl verify` with everything strict, at a time.
fn openssl_verify(files: &Files, authority: &str, rest: &[&str], moment: i64) -> (bool, String) {
    let moment = moment.to_string();
    let mut arguments = vec!["verify", "-x509_strict", "-check_ss_sig", "-attime", &moment];
    arguments.extend(["-CAfile", authority]);
    arguments.extend(rest);
    files.ask("openssl", &arguments)
}

#[test]
fn openssl_has_nothing_to_say() {
    if !support::has("openssl_has_nothing_to_say", &[Need::Program("openssl")]) {
        return;
    }
    let files = Files::new("openssl");
    let client = ["-purpose", "sslclient", "-verify_hostname", AGENT, "client.crt"];
    let server = ["-purpose", "sslserver", "-verify_hostname", SERVER, "server.crt"];
    let by_number = ["-purpose", "sslserver", "-verify_ip", "fd00::1", "server.crt"];
    let later = LATER.seconds();
    for good in [&client, &server, &by_number] {
        for moment in [NOW.seconds(), later] {
            let (is_good, said) = openssl_verify(&files, "ca.crt", good, moment);
            assert!(is_good, "{good:?}: {said}");
        }
    }
    let (is_good, said) = openssl_verify(&files, "ca.crt", &["ca.crt"], later);
    assert!(is_good, "{said}");
    for (what, authority, rest, moment) in [
        ("wrong authority", "stranger.crt", &client, later),
        ("expired", "ca.crt", &client, EXPIRED.seconds()),
        ("not yet", "ca.crt", &client, NOW.seconds() - 301),
        (
            "another agent's id",
            "ca.crt",
            &["-purpose", "sslclient", "-verify_hostname", OTHER_AGENT, "client.crt"],
            later,
        ),
        (
            "a client as a server",
            "ca.crt",
            &["-purpose", "sslserver", "-verify_hostname", AGENT, "client.crt"],
            later,
        ),
    ] {
        let (is_good, said) = openssl_verify(&files, authority, rest, moment);
        assert!(!is_good, "{what}: {said}");
    }
}

#[test]
fn openssl_reads_keys_and_requests() {
    if !support::has("openssl_reads_keys_and_requests", &[Need::Program("openssl")]) {
        return;
    }
    let files = Files::new("openssl_keys");
    for key in ["ca.key", "server.key", "client.key"] {
        let (is_good, said) = files.ask("openssl", &["pkey", "-check", "-noout", "-in", key]);
        assert!(is_good && said.contains("Key is valid"), "{key}: {said}");
    }
    let request = ["req", "-verify", "-noout", "-subject", "-in", "client.csr"];
    let (is_good, said) = files.ask("openssl", &request);
    assert!(is_good && said.contains(&format!("subject=CN = {AGENT}")), "{said}");
    for kind in ["server", "client"] {
        let (key, certificate) = (format!("{kind}.key"), format!("{kind}.crt"));
        let of_key = files.run("openssl", &["pkey", "-pubout", "-in", &key]);
        let of_certificate =
            files.run("openssl", &["x509", "-pubkey", "-noout", "-in", &certificate]);
        assert_eq!(of_key.stdout, of_certificate.stdout);
    }
}

/// The profile, word by word, as OpenSSL shows it.
#[test]
fn the_profile_is_as_documented() {
    if !support::has("the_profile_is_as_documented", &[Need::Program("openssl")]) {
        return;
    }
    let files = Files::new("profile");
    let shown = |file: &str| {
        let (is_good, said) = files.ask(
            "openssl",
            &["x509", "-in", file, "-noout", "-text", "-certopt", "no_pubkey,no_sigdump"],
        );
        assert!(is_good, "{said}");
        let authority = files.authority.key().public().id().to_string();
        let said = said.replace(&authority, "CA-KEY");
        // Serial numbers and the key itself are random.
        let lines = said.lines().map(str::trim_end).skip_while(|line| !line.contains("Signature"));
        lines.collect::<Vec<_>>().join("\n")
    };
    let name = files.authority.certificate().subject().to_string();
    let key = |certificate: &convocate::x509::Certificate| certificate.key().id().to_string();
    assert_eq!(
        shown("ca.crt"),
        format!(
            "        Signature Algorithm: ecdsa-with-SHA256
        Issuer: CN = {name}
        Validity
            Not Before: Oct 31 23:55:00 2026 GMT
            Not After : Oct 29 00:00:00 2036 GMT
        Subject: CN = {name}
        X509v3 extensions:
            X509v3 Basic Constraints: critical
                CA:TRUE, pathlen:0
            X509v3 Key Usage: critical
                Certificate Sign, CRL Sign
            X509v3 Subject Key Identifier:
                CA-KEY"
        )
    );
    let leaf = |subject: &str, purpose: &str, names: &str, key: &str| {
        format!(
            "        Signature Algorithm: ecdsa-with-SHA256
        Issuer: CN = {name}
        Validity
            Not Before: Oct 31 23:55:00 2026 GMT
            Not After : Nov  1 00:00:00 2027 GMT
        Subject: CN = {subject}
        X509v3 extensions:
            X509v3 Key Usage: critical
                Digital Signature
            X509v3 Extended Key Usage:
                {purpose}
            X509v3 Subject Alternative Name:
                {names}
            X509v3 Subject Key Identifier:
                {key}
            X509v3 Authority Key Identifier:
                CA-KEY"
        )
    };
    let names = format!(
        "DNS:{SERVER}, DNS:shell, IP Address:{SERVER_NUMBER}, \
                         IP Address:FD00:0:0:0:0:0:0:1"
    );
    let server = leaf(SERVER, "TLS Web Server Authentication", &names, &key(&files.server));
    assert_eq!(shown("server.crt"), server);
    let names = format!("DNS:{AGENT}");
    let client = leaf(AGENT, "TLS Web Client Authentication", &names, &key(&files.client));
    assert_eq!(shown("client.crt"), client);
}

/// GnuTLS takes the machine's time, so the certificates are made now, and once more at a time whose
/// leaves are over by now.
#[test]
fn gnutls_has_nothing_to_say() {
    if !support::has("gnutls_has_nothing_to_say", &[Need::Program("certtool")]) {
        return;
    }
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let now = i64::try_from(since.as_secs()).expect("a clock of this century");
    let files = Files::made_at("gnutls", Wall::new(now, 0));
    let old = Files::made_at("gnutls_old", Wall::new(now - 366 * 86_400, 0));
    let verify = |files: &Files, authority: &str, file: &str, name: &str, purpose: &str| {
        let authority = format!("--load-ca-certificate={authority}");
        let (file, name) = (format!("--infile={file}"), format!("--verify-hostname={name}"));
        let purpose = format!("--verify-purpose=1.3.6.1.5.5.7.3.{purpose}");
        files.ask("certtool", &["--verify", &authority, &file, &name, &purpose])
    };
    for (file, name, purpose) in
        [("server.crt", SERVER, "1"), ("server.crt", "shell", "1"), ("client.crt", AGENT, "2")]
    {
        let (is_good, said) = verify(&files, "ca.crt", file, name, purpose);
        assert!(is_good && said.contains("The certificate is trusted."), "{file} {name}: {said}");
    }
    for (what, files, authority, name, purpose, reason) in [
        ("authority", &files, "stranger.crt", AGENT, "2", "The certificate issuer is unknown"),
        ("agent", &files, "ca.crt", OTHER_AGENT, "2", "does not match"),
        ("purpose", &files, "ca.crt", AGENT, "1", "does not match the intended purpose"),
        ("time", &old, "ca.crt", AGENT, "2", "expired"),
    ] {
        let (is_good, said) = verify(files, authority, "client.crt", name, purpose);
        assert!(!is_good && said.contains(reason), "wrong {what}: {said}");
    }
    for key in ["ca.key", "client.key"] {
        let (is_good, said) = files.ask("certtool", &["-k", &format!("--infile={key}")]);
        assert!(is_good && said.contains("SECP256R1"), "{key}: {said}");
    }
    let (is_good, said) = files.ask("certtool", &["--crq-info", "--infile=client.csr"]);
    assert!(is_good && said.contains("Self signature: verified"), "{said}");
}

#[test]
fn python_has_nothing_to_say() {
    let test = "python_has_nothing_to_say";
    let Some(python) = python_program(test, "python") else { return };
    let files = Files::new("python");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/x509/verify.py");
    let ask = |authority: &str, leaf: &str, purpose: &str, name: &str, moment: i64| {
        let moment = moment.to_string();
        let (ran, said) = files.ask(&python, &[script, authority, leaf, purpose, name, &moment]);
        assert!(ran, "{said}");
        said.trim_end().to_owned()
    };
    let later = LATER.seconds();
    assert_eq!(ask("ca.crt", "client.crt", "client", AGENT, later), "good");
    for name in [SERVER, "shell", SERVER_NUMBER, "fd00::1"] {
        assert_eq!(ask("ca.crt", "server.crt", "server", name, later), "good");
    }
    for (what, answer) in [
        ("wrong authority", ask("stranger.crt", "client.crt", "client", AGENT, later)),
        ("expired", ask("ca.crt", "client.crt", "client", AGENT, EXPIRED.seconds())),
        ("another agent's id", ask("ca.crt", "client.crt", "client", OTHER_AGENT, later)),
        ("a server as a client", ask("ca.crt", "server.crt", "client", SERVER, later)),
        ("another host", ask("ca.crt", "server.crt", "server", "other.example.org", later)),
    ] {
        assert!(answer.starts_with("bad: "), "{what}: {answer}");
    }
}

/// What a finding may be about: an agent id is a name of one label, and so is a host's short name,
/// which DNS has (RFC 1123 §2.1) and this linter does not take for a name.
const ONE_LABEL: [&str; 2] = [
    "pkix.invalid_domain_name_syntax (ERROR): Invalid domain name syntax: \"shell\"",
    "pkix.invalid_domain_name_syntax (ERROR): Invalid domain name syntax: \"abcdefghjkmn\"",
];

/// The findings of a linter, which are the indented lines below the place of each.
fn findings(said: &str) -> Vec<&str> {
    let lines = said.lines().filter(|line| line.starts_with(' ')).map(str::trim);
    lines.filter(|line| !ONE_LABEL.contains(line)).collect()
}

#[test]
fn the_linter_has_nothing_to_say() {
    let test = "the_linter_has_nothing_to_say";
    let Some(linter) = python_program(test, "lint_pkix_cert") else { return };
    let Some(pair_linter) = python_program(test, "lint_pkix_signer_signee_cert_chain") else {
        return;
    };
    let files = Files::new("linter");
    let none: [&str; 0] = [];
    for file in ["ca.crt", "server.crt", "client.crt"] {
        let (_, said) = files.ask(&linter, &["lint", "-s", "NOTICE", file]);
        assert_eq!(findings(&said), none, "{file}: {said}");
        // It has really read the file: this it says of each, below the level of a finding.
        let (_, said) = files.ask(&linter, &["lint", "-s", "INFO", file]);
        assert!(said.contains("rfc7093_method_1_identified"), "{file}: {said}");
    }
    for file in ["server.crt", "client.crt"] {
        let (_, said) = files.ask(&pair_linter, &["lint", "-s", "NOTICE", "ca.crt", file]);
        assert_eq!(findings(&said), none, "{file}: {said}");
        // And it can find something: the authority of another cluster.
        let (_, said) = files.ask(&pair_linter, &["lint", "-s", "NOTICE", "stranger.crt", file]);
        assert_ne!(findings(&said), none, "{file}");
    }
}
