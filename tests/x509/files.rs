//! Certificates as files, for programs that read them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use convocate::base::rng::Rng;
use convocate::base::time::Wall;
use convocate::x509::{AltName, Authority, Certificate, CertificateRequest, DnsName, KeyPair};

/// 2026-11-01T00:00:00Z, when everything here begins.
pub const NOW: Wall = Wall::new(1_793_491_200, 0);
/// Well within the life of everything.
pub const LATER: Wall = Wall::new(NOW.seconds() + 100 * 86_400, 0);
/// When the leaves are over, and the authority is not.
pub const EXPIRED: Wall = Wall::new(NOW.seconds() + 366 * 86_400, 0);
/// The agent whose certificate it is.
pub const AGENT: &str = "abcdefghjkmn";
/// Another.
pub const OTHER_AGENT: &str = "mmmmmmmmmmmm";
/// What the collector is dialled by.
pub const SERVER: &str = "shell.example.org";
/// And by number.
pub const SERVER_NUMBER: &str = "10.1.2.3";

/// One cluster's certificates, and the authority of another.
pub struct Files {
    dir: PathBuf,
    pub authority: Authority,
    pub stranger: Authority,
    pub server: Certificate,
    pub client: Certificate,
}

impl Files {
    /// Everything below a directory of the test's own, made at [`NOW`].
    pub fn new(test: &str) -> Files {
        Files::made_at(test, NOW)
    }

    /// The same, made at another time.
    pub fn made_at(test: &str, now: Wall) -> Files {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("x509").join(test);
        let _was_there = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a directory for the test");
        let mut rng = Rng::from_seed([7; 32]);
        let authority = Authority::mint(now, &mut rng);
        let stranger = Authority::mint(now, &mut rng);
        let server_key = KeyPair::generate(&mut rng);
        let names = [SERVER, "shell", SERVER_NUMBER, "fd00::1"]
            .map(|name| AltName::parse(name).expect("a name"));
        let server = authority
            .issue_server(&server_key.public(), &names, now, &mut rng)
            .expect("the authority lives");
        let client_key = KeyPair::generate(&mut rng);
        let agent = DnsName::parse(AGENT).expect("an agent id");
        let request = CertificateRequest::new(&agent.common(), &client_key);
        let client =
            authority.issue_client(&request, &agent, now, &mut rng).expect("the authority lives");
        let files = Files { dir, authority, stranger, server, client };
        files.write("ca.crt", &files.authority.certificate().to_pem());
        files.write("ca.key", &files.authority.key().to_pem());
        files.write("stranger.crt", &files.stranger.certificate().to_pem());
        files.write("server.crt", &files.server.to_pem());
        files.write("server.key", &server_key.to_pem());
        files.write("client.crt", &files.client.to_pem());
        files.write("client.key", &client_key.to_pem());
        files.write("client.csr", &request.to_pem());
        files
    }

    /// Runs a program among the files.
    pub fn run(&self, program: impl AsRef<Path>, arguments: &[&str]) -> Output {
        let mut command = Command::new(program.as_ref());
        command.args(arguments).current_dir(&self.dir);
        command.output().expect("the program is installed")
    }

    /// Whether a program ended well, and all that it said.
    pub fn ask(&self, program: impl AsRef<Path>, arguments: &[&str]) -> (bool, String) {
        let output = self.run(program, arguments);
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.join(name), text).expect("the test's directory is writable");
    }
}
