//! Number 1: Identification: pre-lines before it (client: up to 1024 tolerated; server: none), over
//! 255 bytes, bare LF, no newline ever (grace), NUL bytes, wrong version.

use convocate::base::endpoint::Endpoint;
use convocate::base::time::Mono;
use convocate::limits;
use convocate::ssh::identification::IdentificationError as Id;
use convocate::ssh::{Conn, Error, Role, Tuning};

use crate::raw::{Offer, Raw};

const ROLES: [Role; 2] = [Role::Client, Role::Server];

fn after(role: Role, bytes: &[u8]) -> Raw {
    let mut raw = Raw::new(role, Offer::default(), Tuning::default());
    raw.raw(bytes);
    raw
}

#[test]
fn lines_that_are_no_identification_end_the_connection() {
    let long = [b"SSH-2.0-".as_slice(), &[b'x'; 300]].concat();
    for role in ROLES {
        for (bytes, error) in [
            (&b"SSH-2.0-x\n"[..], Id::BareLineFeed),
            (b"SSH-2.0-x\0\r\n", Id::Byte(0)),
            (b"SSH-1.5-x\r\n", Id::Version("SSH-1.5-x".to_owned())),
            (b"SSH-3.0-x\r\n", Id::Version("SSH-3.0-x".to_owned())),
            (&long, Id::TooLong),
        ] {
            let raw = after(role, bytes);
            assert_eq!(raw.error(), Some(Error::Identification(error)), "{role:?} {bytes:?}");
            assert!(raw.conn.is_finished());
        }
    }
}

#[test]
fn a_client_passes_over_1024_lines_and_a_server_over_none() {
    let mut lines = b"Welcome!\r\n".repeat(limits::SSH_PRELINES_MAX);
    assert_eq!(after(Role::Client, &lines).error(), None);
    lines.extend_from_slice(b"one more\n");
    let many = Some(Error::Identification(Id::ManyLines));
    assert_eq!(after(Role::Client, &lines).error(), many);
    let first = Some(Error::Identification(Id::NotFirst));
    assert_eq!(after(Role::Server, b"GET / HTTP/1.1\r\n").error(), first);
}

#[test]
fn who_never_ends_the_line_is_gone_after_the_grace() {
    for role in ROLES {
        let mut raw = after(role, b"SSH-2.0-slow");
        assert_eq!(raw.error(), None);
        let grace = Mono::from_nanos(1) + limits::SSH_LOGIN_GRACE;
        assert!(raw.conn.deadline().is_some_and(|at| at <= grace));
        raw.conn.tick(grace);
        raw.take_events();
        assert_eq!(raw.error(), Some(Error::LoginGrace));
        assert_eq!(raw.conn.deadline(), None);
    }
}

#[test]
fn what_comes_after_the_end_is_not_taken() {
    let mut raw = after(Role::Server, b"HELO\r\n");
    let conn: &mut Conn = &mut raw.conn;
    assert!(conn.input_space().is_empty());
    assert_eq!(conn.poll_event(), None);
}
