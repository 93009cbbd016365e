//! A stand-in for the Messages API, for the real Claude CLI without an account: it answers every
//! prompt with the same words, and remembers what logins it was shown.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

/// What the model says to whatever it is asked.
pub const ANSWER: &str = "The stand-in has read that.";

/// A running model. Its threads end with the test's process.
#[derive(Debug)]
pub struct Model {
    address: SocketAddr,
    logins: Arc<Mutex<Vec<String>>>,
}

impl Model {
    /// Serves on a free port of this address.
    pub fn start(address: IpAddr) -> Model {
        let listener = TcpListener::bind((address, 0)).expect("the address is this machine's");
        let address = listener.local_addr().expect("it is bound");
        let logins = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&logins);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                // A client that hangs up is no matter of ours.
                thread::spawn(move || drop(serve(&stream, &seen)));
            }
        });
        Model { address, logins }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The header of each login that came with a prompt: `bearer TOKEN` or `key KEY`.
    pub fn logins(&self) -> Vec<String> {
        self.logins.lock().expect("nobody panics").clone()
    }
}

/// Answers the requests of one connection, one after the other.
fn serve(stream: &TcpStream, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let (mut length, mut login) = (0, "none".to_owned());
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.trim_end().split_once(':') else { break };
            match (name.to_ascii_lowercase().as_str(), value.trim()) {
                ("content-length", value) => length = value.parse().unwrap_or(0),
                ("x-api-key", value) => login = format!("key {value}"),
                ("authorization", value) => login = value.replacen("Bearer", "bearer", 1),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if !line.starts_with("POST /v1/messages") || line.contains("count_tokens") {
            reply(stream, "application/json", r#"{"data":[],"has_more":false}"#)?;
            continue;
        }
        // Titles and the like come without tools.
        let is_prompt = body["tools"].as_array().is_some_and(|tools| !tools.is_empty());
        if is_prompt {
            seen.lock().expect("nobody panics").push(login);
        }
        let text = if is_prompt { ANSWER } else { r#"{"title":"a title"}"# };
        match body["stream"] == true {
            true => reply(stream, "text/event-stream", &events(text))?,
            false => reply(stream, "application/json", &message(text).to_string())?,
        }
    }
}

fn reply(mut stream: &TcpStream, kind: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes())
}

fn message(text: &str) -> Value {
    let content =
        if text.is_empty() { json!([]) } else { json!([{ "type": "text", "text": text }]) };
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "stand-in",
        "content": content, "stop_reason": "end_turn", "stop_sequence": null,
        "usage": { "input_tokens": 10, "output_tokens": 5 },
    })
}

/// A message as a stream of events.
fn events(text: &str) -> String {
    let text = json!({ "type": "text_delta", "text": text });
    let end = json!({ "stop_reason": "end_turn", "stop_sequence": null });
    let events = [
        json!({ "type": "message_start", "message": message("") }),
        json!({ "type": "content_block_start", "index": 0,
                "content_block": { "type": "text", "text": "" } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": text }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "message_delta", "delta": end, "usage": { "output_tokens": 5 } }),
        json!({ "type": "message_stop" }),
    ];
    let event = |event: &Value| {
        format!("event: {}\ndata: {event}\n\n", event["type"].as_str().expect("it is text"))
    };
    events.iter().map(event).collect()
}
