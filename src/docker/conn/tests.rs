//! A connection fed whole, byte by byte, and with more or less than it wants.

use super::super::http::{Method, RequestTarget};
use super::*;

const NOW: Mono = Mono::ZERO;

fn request() -> DockerRequest {
    DockerRequest::new(Method::Get, RequestTarget::path(&["_ping"]))
}

/// A connection that has sent a request and is to be answered.
fn waiting(answer: ResponseMode) -> DockerConn {
    let mut conn = DockerConn::new();
    conn.call(&request(), answer, NOW).unwrap();
    let len = conn.output().len();
    conn.output_sent(len);
    conn
}

/// Feeds as much of `bytes` as the connection takes, `step` at a time; gives back the rest.
fn feed<'a>(conn: &mut DockerConn, mut bytes: &'a [u8], step: usize) -> &'a [u8] {
    while !bytes.is_empty() {
        let room = conn.input_space();
        let len = room.len().min(step).min(bytes.len());
        if len == 0 {
            break;
        }
        room[..len].copy_from_slice(&bytes[..len]);
        conn.input(NOW, len);
        bytes = &bytes[len..];
    }
    bytes
}

fn events(conn: &mut DockerConn) -> Vec<DockerConnEvent> {
    std::iter::from_fn(|| conn.poll_event()).collect()
}

fn response(status: u16, body: &[u8]) -> DockerConnEvent {
    DockerConnEvent::Response(DockerResponse { status, body: body.to_vec() })
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK";
const UPGRADED: &[u8] = b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n";
const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn calls_follow_one_another_on_one_connection() {
    let mut conn = DockerConn::new();
    for step in 1..=OK.len() {
        conn.call(&request(), ResponseMode::Whole, NOW).unwrap();
        assert_eq!(conn.call(&request(), ResponseMode::Whole, NOW), Err(NotNow));
        let len = conn.output().len();
        conn.output_sent(len);
        assert!(feed(&mut conn, OK, step).is_empty());
        assert_eq!(events(&mut conn), [response(200, b"OK")]);
        assert_eq!((conn.deadline(), conn.is_finished()), (None, false));
    }
    conn.input_end(NOW);
    assert_eq!(events(&mut conn), [DockerConnEvent::Closed(None)]);
    assert!(conn.is_finished());
}

#[test]
fn a_connection_that_is_cut_says_so_once() {
    for length in 0..OK.len() {
        let mut conn = waiting(ResponseMode::Whole);
        feed(&mut conn, &OK[..length], 99);
        conn.input_end(NOW);
        assert_eq!(events(&mut conn), [DockerConnEvent::Closed(Some(DockerError::Closed))]);
        conn.input_end(NOW);
        conn.close();
        assert_eq!(events(&mut conn), []);
        assert!(conn.input_space().is_empty() && conn.is_finished());
    }
}

#[test]
fn a_changed_byte_never_leaves_a_call_without_an_answer() {
    for at in 0..OK.len() {
        for byte in [0, b'0', b'9', b'\r', b'\n', b':', 0xff] {
            let mut changed = OK.to_vec();
            changed[at] = byte;
            let mut conn = waiting(ResponseMode::Whole);
            feed(&mut conn, &changed, 3);
            conn.input_end(NOW);
            let ends = events(&mut conn);
            let closed =
                ends.iter().filter(|event| matches!(event, DockerConnEvent::Closed(_))).count();
            assert_eq!(closed, 1, "byte {byte} at {at}: {ends:?}");
        }
    }
}

#[test]
fn a_body_until_the_end_of_the_stream_is_whole_at_its_end() {
    let mut conn = waiting(ResponseMode::Whole);
    feed(&mut conn, b"HTTP/1.1 200 OK\r\n\r\nrest", 2);
    assert_eq!(events(&mut conn), []);
    conn.input_end(NOW);
    assert_eq!(events(&mut conn), [response(200, b"rest"), DockerConnEvent::Closed(None)]);
}

#[test]
fn an_answer_that_does_not_come_in_time_fails_the_connection() {
    let mut conn = waiting(ResponseMode::Whole);
    let deadline = conn.deadline().unwrap();
    conn.tick(NOW);
    assert_eq!(events(&mut conn), []);
    conn.tick(deadline);
    assert_eq!(events(&mut conn), [DockerConnEvent::Closed(Some(DockerError::Timeout))]);
    assert_eq!(conn.call(&request(), ResponseMode::Whole, NOW), Err(NotNow));
}

#[test]
fn bytes_without_a_request_are_refused() {
    let mut conn = DockerConn::new();
    feed(&mut conn, b"H", 1);
    let error = DockerError::Protocol(HttpError::Unasked);
    assert_eq!(events(&mut conn), [DockerConnEvent::Closed(Some(error.clone()))]);
    let mut conn = waiting(ResponseMode::Whole);
    feed(&mut conn, UPGRADED, 99);
    assert_eq!(events(&mut conn), [DockerConnEvent::Closed(Some(error))]);
}

#[test]
fn a_stream_taken_over_holds_one_window_in_each_direction() {
    let mut conn = waiting(ResponseMode::TakeOver);
    feed(&mut conn, &[UPGRADED, b"first"].concat(), 1000);
    assert_eq!(events(&mut conn), [DockerConnEvent::TakenOver, DockerConnEvent::Readable]);
    let flood = vec![b'x'; 2 * DOCKER_STREAM_BYTES];
    let rest = feed(&mut conn, &flood, 5000);
    assert_eq!(conn.received().len(), DOCKER_STREAM_BYTES);
    assert_eq!(flood.len() - rest.len() + 5, DOCKER_STREAM_BYTES);
    assert!(conn.input_space().is_empty());
    conn.consume(100);
    assert_eq!(conn.input_space().len(), 100);
    assert_eq!(conn.send(&flood), DOCKER_STREAM_BYTES);
    assert_eq!((conn.send(b"more"), conn.send_space()), (0, 0));
    conn.output_sent(1);
    assert_eq!(events(&mut conn), [DockerConnEvent::Writable]);
    conn.input_end(NOW);
    assert_eq!(events(&mut conn), [DockerConnEvent::End]);
    assert_eq!(conn.received().len(), DOCKER_STREAM_BYTES - 100);
    conn.close();
    assert_eq!(events(&mut conn), [DockerConnEvent::Closed(None)]);
}

#[test]
fn a_refused_upgrade_is_a_response() {
    let mut conn = waiting(ResponseMode::TakeOver);
    feed(&mut conn, b"HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\n{}", 4);
    assert_eq!(events(&mut conn), [response(409, b"{}")]);
    assert!(conn.is_idle());
}

#[test]
fn a_streamed_body_waits_for_its_reader_and_loses_nothing() {
    let data: Vec<u8> = (0..=250).cycle().take(3 * DOCKER_STREAM_BYTES).collect();
    let mut wire = STREAM.to_vec();
    for chunk in data.chunks(7000) {
        wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    let mut conn = waiting(ResponseMode::Stream);
    let (mut rest, mut read) = (&wire[..], Vec::new());
    while !rest.is_empty() {
        let after = feed(&mut conn, rest, 4096);
        if after.is_empty() {
            conn.input_end(NOW);
        }
        assert!(after.len() < rest.len() || !conn.received().is_empty(), "it stalls");
        rest = after;
        let len = conn.received().len().min(3000);
        read.extend_from_slice(&conn.received()[..len]);
        conn.consume(len);
    }
    while !conn.received().is_empty() {
        let len = conn.received().len().min(3000);
        read.extend_from_slice(&conn.received()[..len]);
        conn.consume(len);
    }
    assert!(read == data);
    assert_eq!(events(&mut conn).last(), Some(&DockerConnEvent::End));
}

#[test]
fn a_streamed_body_that_is_cut_is_no_end() {
    let mut conn = waiting(ResponseMode::Stream);
    feed(&mut conn, &[STREAM, b"5\r\nhel"].concat(), 10);
    conn.input_end(NOW);
    let all = events(&mut conn);
    assert_eq!(all.last(), Some(&DockerConnEvent::Closed(Some(DockerError::Closed))), "{all:?}");
    assert!(!all.contains(&DockerConnEvent::End));
}

#[test]
fn a_request_that_is_too_long_is_not_made() {
    let mut long = request();
    long.body = Some(("application/x-tar", vec![0; DOCKER_REQUEST_BYTES_MAX]));
    let mut conn = DockerConn::new();
    assert_eq!(conn.call(&long, ResponseMode::Whole, NOW), Err(NotNow));
    assert!(conn.is_idle() && conn.output().is_empty());
}
