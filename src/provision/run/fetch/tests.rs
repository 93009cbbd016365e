//! Fetching with the real curl from a server that breaks off, has no ranges, or has another file.

use std::convert::Infallible;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::thread::JoinHandle;

use sha2::{Digest, Sha256};

use crate::base::hex;
use crate::io::scratch::{Scratch, skip};
use crate::provision::engine::{StepEvent, StepMode, StepOutcome};
use crate::provision::goal::download::Download;
use crate::provision::run::{DriverOptions, run};
use crate::provision::step::Step;
use crate::provision::vm::spec::{Sha256Hex, Url};

const WHOLE: &[u8] = b"all of the image, from its beginning to its end";
/// How much comes before the line breaks.
const BROKEN_AT: usize = 20;

/// How the server answers one request.
#[derive(Clone, Copy)]
enum Reply {
    /// With all of it, whatever was asked for.
    Whole,
    /// With the beginning, and then the line breaks.
    Broken,
    /// With what was asked for behind the break.
    Rest,
    /// That there is nothing behind the end.
    Nothing,
}

struct Server {
    url: String,
    thread: JoinHandle<Vec<bool>>,
}

impl Server {
    fn start(replies: &[Reply]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/i.img", listener.local_addr().unwrap());
        let replies = replies.to_vec();
        let serve = move || replies.into_iter().map(|reply| answer(&listener, reply)).collect();
        Server { url, thread: std::thread::spawn(serve) }
    }

    /// Which of the requests asked for a part of it.
    fn asked(self) -> Vec<bool> {
        self.thread.join().unwrap()
    }
}

/// Answers the next request; whether it asks for a part.
fn answer(listener: &TcpListener, reply: Reply) -> bool {
    let (mut stream, _) = listener.accept().unwrap();
    let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let (end, rest) = (WHOLE.len() - 1, &WHOLE[BROKEN_AT..]);
    let range = format!("Content-Range: bytes {BROKEN_AT}-{end}/{}\r\n", WHOLE.len());
    let (status, more, length, body) = match reply {
        Reply::Whole => ("200 OK", "", WHOLE.len(), WHOLE),
        Reply::Broken => ("200 OK", "", WHOLE.len(), &WHOLE[..BROKEN_AT]),
        Reply::Rest => ("206 Partial Content", range.as_str(), rest.len(), rest),
        Reply::Nothing => ("416 Range Not Satisfiable", "", 0, &[][..]),
    };
    let text = format!("HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\n");
    stream.write_all(format!("{text}Connection: close\r\n\r\n").as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    head.iter().any(|line| line.eq_ignore_ascii_case(&format!("range: bytes={BROKEN_AT}-")))
}

fn sha256(bytes: &[u8]) -> Sha256Hex {
    let hash = hex::text(&Sha256::digest(bytes));
    Sha256Hex::parse(&hash).unwrap()
}

/// Fetches it; what is wrong, if something is.
fn fetch(path: &Path, url: &str, sha256: Sha256Hex) -> Option<String> {
    let url = Some(Url::parse(url).unwrap());
    let goal = Download { url, sha256: Some(sha256), path: path.to_owned() };
    let docker_socket = "/no/such/socket".into();
    let options = DriverOptions { mode: StepMode::Apply, docker_socket, until_stdin_ends: false };
    let mut wrong = None;
    let tally = run(vec![Step::new("image", goal)], &options, |event| {
        if let StepEvent::Finished { outcome: StepOutcome::Failed(failure), .. } = event {
            wrong = Some(failure.what.clone());
        }
        Ok::<(), Infallible>(())
    });
    assert_eq!(tally.unwrap().failed, usize::from(wrong.is_some()));
    wrong
}

fn has_curl(test: &str) -> bool {
    let has = std::process::Command::new("curl").arg("--version").output().is_ok();
    if !has {
        skip(test, "program: curl is not installed");
    }
    has
}

#[test]
fn a_broken_line_costs_only_the_rest() {
    if !has_curl("a_broken_line_costs_only_the_rest") {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.join("i.img");
    let server = Server::start(&[Reply::Broken, Reply::Rest]);
    let wrong = fetch(&path, &server.url, sha256(WHOLE)).expect("the line was broken");
    assert!(wrong.ends_with("does not come: curl ended with status 18"), "{wrong}");
    assert!(!path.exists());
    assert_eq!(fetch(&path, &server.url, sha256(WHOLE)), None);
    assert_eq!(fs::read(&path).unwrap(), WHOLE);
    // Once it is there nobody is asked for it.
    assert_eq!(fetch(&path, &server.url, sha256(WHOLE)), None);
    assert_eq!(server.asked(), [false, true]);
}

#[test]
fn what_is_not_the_right_one_is_thrown_away() {
    if !has_curl("what_is_not_the_right_one_is_thrown_away") {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.join("i.img");
    let server = Server::start(&[Reply::Whole]);
    let wrong = fetch(&path, &server.url, sha256(b"another")).expect("it is another");
    assert!(wrong.contains(sha256(WHOLE).as_str()), "{wrong}");
    assert!(wrong.ends_with("is expected; it was thrown away"), "{wrong}");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    assert_eq!(server.asked(), [false]);
}

#[test]
fn who_cannot_go_on_begins_again() {
    if !has_curl("who_cannot_go_on_begins_again") {
        return;
    }
    // A server without ranges, one that has less by now, and the rest of another file.
    let other: &[u8] = b"this was begun of an";
    for (part, first) in
        [(&WHOLE[..BROKEN_AT], Reply::Whole), (other, Reply::Nothing), (other, Reply::Rest)]
    {
        let scratch = Scratch::new();
        let path = scratch.join("i.img");
        fs::write(scratch.join("i.img.part"), part).unwrap();
        let server = Server::start(&[first, Reply::Whole]);
        assert_eq!(fetch(&path, &server.url, sha256(WHOLE)), None);
        assert_eq!(fs::read(&path).unwrap(), WHOLE);
        assert_eq!(server.asked(), [true, false]);
    }
    // All of it had come, and only its name was missing.
    let scratch = Scratch::new();
    fs::write(scratch.join("i.img.part"), WHOLE).unwrap();
    assert_eq!(fetch(&scratch.join("i.img"), "http://127.0.0.1:1/i.img", sha256(WHOLE)), None);
}
