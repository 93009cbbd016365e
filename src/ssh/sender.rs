//! The way out: messages become packets, sealed where they lie.
//!
//! Two queues. What is sealed waits to be written; channel data enters it only up to
//! [`limits::SSH_SEND_QUEUE_BYTES`], which is the backpressure that an owner feels. From our
//! KEXINIT to our NEWKEYS the [`Gate`] is shut (RFC 4253 §7.1): messages then wait unsealed, data
//! not at all.

use std::fmt;

use super::cipher::{LENGTH_BYTES, Sealer, TAG_BYTES};
use super::names::{KEEPALIVE, SSH_MSG_CHANNEL_DATA, SSH_MSG_GLOBAL_REQUEST};
use super::packet::{CLEAR_BLOCK_BYTES, PADDING_BYTES_MIN};
use super::wire::{put_boolean, put_string, put_u32};
use crate::base::rng::Rng;
use crate::limits;

/// What a CHANNEL_DATA packet adds to its data at most: length field, padding length, message head,
/// padding of at most a block and the shortest one, tag.
const DATA_OVERHEAD_BYTES: usize = LENGTH_BYTES + 1 + 9 + (16 + PADDING_BYTES_MIN - 1) + TAG_BYTES;

/// The first allocation: our KEXINIT and a reply.
const FIRST_CAPACITY_BYTES: usize = 2 * 1024;

/// Whether ordinary messages may be sent now.
enum Gate {
    Open,
    /// A key exchange of ours is under way. Messages, each with its length before it, in order.
    Shut {
        deferred: Vec<u8>,
    },
}

/// How outgoing packets are protected.
enum Sealing {
    Clear,
    Keyed(Sealer),
}

pub(crate) struct Sender {
    gate: Gate,
    sealing: Sealing,
    sequence: u32,
    /// Sealed packets; what is before `head` has been written.
    bytes: Vec<u8>,
    head: usize,
    /// Padding should be random (RFC 4253 §6).
    rng: Rng,
    /// Bytes under this key.
    pub(crate) key_bytes: u64,
    /// Packets under this key.
    pub(crate) key_packets: u64,
}

impl Sender {
    /// The start: no cipher, an open gate.
    pub(crate) fn new(rng: Rng) -> Sender {
        Sender {
            gate: Gate::Open,
            sealing: Sealing::Clear,
            sequence: 0,
            bytes: Vec::new(),
            head: 0,
            rng,
            key_bytes: 0,
            key_packets: 0,
        }
    }

    /// Bytes that are no packet: the identification.
    pub(crate) fn put_plain(&mut self, text: &[u8]) {
        self.make_room(text.len());
        self.bytes.extend_from_slice(text);
    }

    /// A message that waits while the gate is shut. `write` appends its payload.
    pub(crate) fn post(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let Gate::Shut { deferred } = &mut self.gate else { return self.put(0, write) };
        let start = deferred.len();
        deferred.extend_from_slice(&[0; LENGTH_BYTES]);
        write(deferred);
        let length = deferred.len() - start - LENGTH_BYTES;
        let length = u32::try_from(length).expect("our own messages are far below 4 GiB");
        deferred[start..start + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    }

    /// Asks the peer for a sign of life: any answer will do.
    pub(crate) fn post_keepalive(&mut self) {
        self.post(|out| {
            out.push(SSH_MSG_GLOBAL_REQUEST);
            put_string(out, KEEPALIVE.as_bytes());
            put_boolean(out, true);
        });
    }

    /// A message of the transport itself, which goes out at once. `write` appends its payload,
    /// which is about `hint` bytes long.
    pub(crate) fn put(&mut self, hint: usize, write: impl FnOnce(&mut Vec<u8>)) {
        self.make_room(hint + DATA_OVERHEAD_BYTES);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; LENGTH_BYTES + 1]);
        write(&mut self.bytes);
        self.finish_packet(start);
    }

    /// Channel data, as one packet.
    pub(crate) fn put_data(&mut self, channel: u32, data: &[u8]) {
        self.put(data.len(), |out| {
            out.push(SSH_MSG_CHANNEL_DATA);
            put_u32(out, channel);
            put_string(out, data);
        });
    }

    /// How many bytes of data can be put now, in packets of up to `packet_bytes`.
    pub(crate) fn data_room(&self, packet_bytes: usize) -> usize {
        if !self.is_open() {
            return 0;
        }
        let free = limits::SSH_SEND_QUEUE_BYTES.saturating_sub(self.len());
        let each = packet_bytes + DATA_OVERHEAD_BYTES;
        let last = (free % each).saturating_sub(DATA_OVERHEAD_BYTES);
        free / each * packet_bytes + last
    }

    /// Our KEXINIT is about to be put: from here on messages wait.
    pub(crate) fn shut(&mut self) {
        if self.is_open() {
            self.gate = Gate::Shut { deferred: Vec::new() };
        }
    }

    /// Our NEWKEYS was put: the next packet is sealed with the new key, and what waited follows it.
    pub(crate) fn rekey(&mut self, sealer: Sealer, strict: bool) {
        self.sealing = Sealing::Keyed(sealer);
        self.key_bytes = 0;
        self.key_packets = 0;
        if strict {
            self.sequence = 0;
        }
    }

    /// Opens the gate and seals what waited.
    pub(crate) fn open(&mut self) {
        let Gate::Shut { deferred } = std::mem::replace(&mut self.gate, Gate::Open) else { return };
        let mut left = &deferred[..];
        while let Some((head, rest)) = left.split_first_chunk::<LENGTH_BYTES>() {
            let (message, rest) = rest.split_at(u32::from_be_bytes(*head) as usize);
            self.put(message.len(), |out| out.extend_from_slice(message));
            left = rest;
        }
    }

    /// Whether ordinary messages go out at once.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.gate, Gate::Open)
    }

    /// Whether more messages wait for the gate than a decent peer can have asked for.
    pub(crate) fn is_flooded(&self) -> bool {
        match &self.gate {
            Gate::Open => false,
            Gate::Shut { deferred } => deferred.len() > limits::SSH_DEFERRED_BYTES_MAX,
        }
    }

    /// Whether so much waits to be written that no more input should be answered.
    pub(crate) fn is_over_mark(&self) -> bool {
        self.len() > limits::SSH_SEND_QUEUE_BYTES + limits::SSH_REPLY_QUEUE_BYTES
    }

    /// What waits to be written.
    pub(crate) fn output(&self) -> &[u8] {
        &self.bytes[self.head..]
    }

    /// The first `len` bytes have been written.
    pub(crate) fn sent(&mut self, len: usize) {
        assert!(len <= self.len(), "sent more than there was to send");
        self.head += len;
        if self.head == self.bytes.len() {
            self.bytes.clear();
            self.head = 0;
        }
    }

    /// How many bytes wait to be written.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.head
    }

    /// Gives the memory back if nothing waits.
    pub(crate) fn trim(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
    }

    /// Memory held now, in bytes.
    pub(crate) fn allocated(&self) -> usize {
        let deferred = match &self.gate {
            Gate::Open => 0,
            Gate::Shut { deferred } => deferred.capacity(),
        };
        self.bytes.capacity() + deferred
    }

    /// Pads, fills in the head of and seals the packet at `start`.
    fn finish_packet(&mut self, start: usize) {
        let (block, counted, tag_bytes) = match &self.sealing {
            Sealing::Clear => (CLEAR_BLOCK_BYTES, LENGTH_BYTES, 0),
            Sealing::Keyed(sealer) => (sealer.name().block_bytes(), 0, TAG_BYTES),
        };
        let unpadded = self.bytes.len() - start - LENGTH_BYTES;
        let padding = padding(unpadded + counted, block);
        let end = self.bytes.len();
        self.bytes.resize(end + padding + tag_bytes, 0);
        self.rng.fill(&mut self.bytes[end..end + padding]);
        let length = u32::try_from(unpadded + padding).expect("packets are far below 4 GiB");
        let packet = &mut self.bytes[start..];
        packet[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        packet[LENGTH_BYTES] = u8::try_from(padding).expect("padding is below two blocks");
        if let Sealing::Keyed(sealer) = &mut self.sealing {
            sealer.seal(self.sequence, packet);
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.key_bytes += packet.len() as u64;
        self.key_packets += 1;
    }

    /// Makes room for `count` more bytes: moves what waits to the front if that frees a good part
    /// of what it moves, else doubles.
    fn make_room(&mut self, count: usize) {
        if self.bytes.capacity() - self.bytes.len() >= count {
            return;
        }
        let held = self.len();
        if self.head > 0 && self.head >= held / 4 && self.bytes.capacity() - held >= count {
            self.bytes.copy_within(self.head.., 0);
            self.bytes.truncate(held);
            self.head = 0;
            return;
        }
        let doubled = (2 * self.bytes.capacity()).min(CAPACITY_BYTES_MAX);
        let mut grown = Vec::with_capacity(doubled.max(held + count).max(FIRST_CAPACITY_BYTES));
        grown.extend_from_slice(self.output());
        self.bytes = grown;
        self.head = 0;
    }
}

/// A queue that is full and a quarter more, so that moving always pays.
const CAPACITY_BYTES_MAX: usize =
    (limits::SSH_SEND_QUEUE_BYTES + limits::SSH_REPLY_QUEUE_BYTES) / 4 * 5;

impl fmt::Debug for Sender {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Sender({}, {} bytes wait)", self.sequence, self.len())
    }
}

/// The padding behind `counted` bytes that brings them to whole blocks (RFC 4253 §6).
fn padding(counted: usize, block: usize) -> usize {
    let short = (block - counted % block) % block;
    if short < PADDING_BYTES_MIN { short + block } else { short }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender() -> Sender {
        Sender::new(Rng::from_seed([1; 32]))
    }

    #[test]
    fn clear_packets_are_whole_blocks_with_padding() {
        for length in 1..100 {
            let mut sender = sender();
            sender.post(|out| out.resize(out.len() + length, 7));
            let packet = sender.output();
            assert_eq!(packet.len() % 8, 0);
            assert!((4..12).contains(&packet[4]), "{length}");
            let fields = 4 + 1 + length + usize::from(packet[4]);
            assert_eq!(packet.len(), fields.max(16));
        }
    }

    #[test]
    fn what_was_posted_behind_the_gate_follows_the_new_keys_in_order() {
        let mut sender = sender();
        sender.shut();
        for byte in 1..4 {
            sender.post(|out| out.push(byte));
        }
        assert_eq!(sender.data_room(100), 0);
        assert!(sender.output().is_empty());
        sender.put(1, |out| out.push(21));
        sender.open();
        let order: Vec<u8> = sender.output().chunks(16).map(|packet| packet[5]).collect();
        assert_eq!(order, [21, 1, 2, 3]);
    }

    #[test]
    fn data_room_is_what_data_takes_however_small_the_packets() {
        for packet_bytes in [1, 2, 100, 32 * 1024] {
            let mut sender = sender();
            let mut room = sender.data_room(packet_bytes);
            while room > 0 {
                sender.put_data(0, &vec![0; room.min(packet_bytes)]);
                let left = sender.data_room(packet_bytes);
                assert!(left + room.min(packet_bytes) >= room, "{packet_bytes}");
                room = left;
            }
            assert!(sender.len() <= limits::SSH_SEND_QUEUE_BYTES);
            assert!(!sender.is_over_mark());
        }
    }

    #[test]
    fn a_steady_flow_moves_and_does_not_grow() {
        let mut sender = sender();
        for _ in 0..10_000 {
            while sender.data_room(1000) >= 1000 {
                sender.put_data(0, &[0; 1000]);
            }
            sender.sent(3333);
        }
        assert!(sender.allocated() <= CAPACITY_BYTES_MAX, "{}", sender.allocated());
        let left = sender.len();
        sender.sent(left);
        sender.trim();
        assert_eq!(sender.allocated(), 0);
    }
}
