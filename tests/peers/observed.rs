//! A connection that remembers what its two ends agreed on.
//!
//! The first KEXINITs go in the clear, so what was chosen is read off the wire, and no side has to
//! be asked.

use convocate::base::endpoint::Endpoint;
use convocate::base::time::Mono;
use convocate::ssh::kexinit::{Agreed, agree};
use convocate::ssh::{Conn, Role};

/// Identification and KEXINIT of the most talkative peer are well below this.
const OPENING_BYTES: usize = 16 * 1024;

/// A connection, and the first bytes that went each way.
#[derive(Debug)]
pub struct Observed {
    /// The connection.
    pub conn: Conn,
    role: Role,
    heard: Vec<u8>,
    said: Vec<u8>,
}

impl Observed {
    pub fn new(conn: Conn, role: Role) -> Observed {
        Observed { conn, role, heard: Vec::new(), said: Vec::new() }
    }

    /// What the peer calls itself, without `SSH-2.0-`.
    pub fn peer(&self) -> String {
        let line = self.heard.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        line.trim_end().trim_start_matches("SSH-2.0-").to_owned()
    }

    /// What the first exchange agreed on, if both ends came to propose.
    pub fn agreed(&self) -> Option<Agreed> {
        agree(self.role, kexinit(&self.said)?, kexinit(&self.heard)?).ok()
    }
}

/// The payload of the first packet behind the identification line.
fn kexinit(opening: &[u8]) -> Option<&[u8]> {
    let start = opening.iter().position(|byte| *byte == b'\n')? + 1;
    let (length, packet) = opening[start..].split_first_chunk::<4>()?;
    let packet = packet.get(..u32::from_be_bytes(*length) as usize)?;
    let (padding, packet) = packet.split_first()?;
    packet.get(..packet.len().checked_sub(usize::from(*padding))?)
}

fn keep(opening: &mut Vec<u8>, bytes: &[u8]) {
    let room = OPENING_BYTES - opening.len();
    opening.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

impl Endpoint for Observed {
    fn input_space(&mut self) -> &mut [u8] {
        self.conn.input_space()
    }

    fn input(&mut self, now: Mono, len: usize) {
        keep(&mut self.heard, &self.conn.input_space()[..len]);
        self.conn.input(now, len);
    }

    fn input_end(&mut self, now: Mono) {
        self.conn.input_end(now);
    }

    fn output(&self) -> &[u8] {
        self.conn.output()
    }

    fn output_sent(&mut self, len: usize) {
        keep(&mut self.said, &self.conn.output()[..len]);
        self.conn.output_sent(len);
    }

    fn deadline(&self) -> Option<Mono> {
        self.conn.deadline()
    }

    fn tick(&mut self, now: Mono) {
        self.conn.tick(now);
    }

    fn is_finished(&self) -> bool {
        self.conn.is_finished()
    }
}
