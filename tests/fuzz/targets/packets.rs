//! Packets as they come from the wire, without a cipher and, from a peer that has the key, with
//! each: the same packets however the stream is cut, and none that is not what was sent.

use convocate::limits;
use convocate::ssh::cipher::{CipherName, LENGTH_BYTES, Opener, Sealer, TAG_BYTES};
use convocate::ssh::packet::{Inbox, PADDING_BYTES_MIN, PacketError, Receiving};

use crate::drive::script::Script;

const CIPHERS: [Option<CipherName>; 3] =
    [None, Some(CipherName::Aes256Gcm), Some(CipherName::ChaCha20Poly1305)];
/// Only as many as the longest key needs.
const KEY: [u8; 64] = [7; 64];

pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let head = script.byte();
    let cipher = CIPHERS[usize::from(head & 0x3f) % CIPHERS.len()];
    let (strict, full_size) = (head & 0x40 != 0, head & 0x80 != 0);
    let step = script.short() + 1;
    let stream = match cipher {
        None => script.rest().to_vec(),
        Some(name) => sealed(name, &mut script),
    };
    let receiving = || {
        let mut receiving = Receiving::default();
        if let Some(name) = cipher {
            let (key, iv) = material(name);
            receiving.rekey(Opener::new(name, key, iv), strict);
        }
        if full_size {
            receiving.admit_full_size();
        }
        receiving
    };
    let max = if full_size { limits::SSH_PACKET_BYTES_MAX } else { preauth_max() };
    let whole = receive(receiving(), &stream, usize::MAX, max);
    assert_eq!(receive(receiving(), &stream, step, max), whole, "cut every {step} bytes");
}

const fn preauth_max() -> usize {
    limits::SSH_PREAUTH_PACKET_BYTES_MAX
}

fn material(name: CipherName) -> (&'static [u8], &'static [u8]) {
    (&KEY[..name.key_bytes()], &KEY[..name.iv_bytes()])
}

type Outcome = (Vec<(Vec<u8>, u32)>, Option<PacketError>);

/// Feeds a stream through an inbox as a connection does.
fn receive(mut receiving: Receiving, stream: &[u8], step: usize, max: usize) -> Outcome {
    let mut inbox = Inbox::default();
    let mut packets = Vec::new();
    let mut left = stream;
    loop {
        match receiving.next(inbox.held()) {
            Ok(Some(packet)) => {
                assert!(packet.wire_bytes <= max, "a packet of {} bytes", packet.wire_bytes);
                let payload = packet.payload.clone();
                assert!(payload.start == LENGTH_BYTES + 1 && payload.start < payload.end);
                assert!(payload.end + PADDING_BYTES_MIN <= packet.wire_bytes);
                packets.push((inbox.held()[payload].to_vec(), packet.sequence));
                inbox.consume(packet.wire_bytes);
                continue;
            }
            Ok(None) => inbox.settle(),
            Err(error) => return (packets, Some(error)),
        }
        if left.is_empty() {
            return (packets, None);
        }
        let space = inbox.space();
        let len = space.len().min(left.len()).min(step);
        assert!(len > 0, "no room for the rest of a packet");
        space[..len].copy_from_slice(&left[..len]);
        inbox.filled(len, limits::SSH_INBOX_BYTES_MAX);
        assert!(inbox.allocated() <= limits::SSH_INBOX_BYTES_MAX);
        left = &left[len..];
    }
}

/// Packets of a peer that has the key, with any length field and any padding, perhaps changed after
/// they were sealed.
fn sealed(name: CipherName, script: &mut Script<'_>) -> Vec<u8> {
    let (key, iv) = material(name);
    let mut sealer = Sealer::new(name, key, iv);
    let mut stream = Vec::new();
    let mut sequence = 0;
    while !script.is_over() && stream.len() < 128 * 1024 {
        let (kind, size) = (script.byte(), script.short());
        let whole = size / name.block_bytes() * name.block_bytes();
        let body = if kind & 1 == 0 { whole } else { size };
        let mut packet = vec![0; LENGTH_BYTES + body + TAG_BYTES];
        let length = if kind & 2 == 0 { u32::try_from(body).unwrap_or(0) } else { script.number() };
        packet[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        packet[LENGTH_BYTES] = script.byte();
        sealer.seal(sequence, &mut packet);
        if kind & 4 != 0 {
            let at = script.short() % packet.len();
            packet[at] ^= script.byte();
        }
        stream.extend_from_slice(&packet);
        sequence += 1;
    }
    stream
}
