//! Our client and our server, and a wire between them that cuts, delays and changes bytes. What
//! arrives is what was sent, in order; a changed byte is the end; and without one all of it
//! arrives.

use std::collections::BTreeMap;
use std::time::Duration;

use convocate::ssh::{ChannelId, Role};

use crate::drive::ends;
use crate::drive::script::Script;
use crate::drive::subject::Subject;

const STEPS_MAX: usize = 2048;
/// Fewer than a connection may have, so that both ends give a channel the same number.
const CHANNELS_MAX: usize = 60;

pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let mut pair = Pair::new(script.byte(), script.byte());
    for _ in 0..STEPS_MAX {
        if script.is_over() {
            break;
        }
        pair.step(&mut script);
    }
    pair.finish();
}

/// One direction of a channel.
#[derive(Default)]
struct Flow {
    sent: usize,
    arrived: usize,
}

type Sealed = bool;

struct Pair {
    /// The client and the server.
    ends: [Subject; 2],
    /// What is on its way from each of them.
    wires: [Vec<u8>; 2],
    /// By the end that sends.
    flows: [BTreeMap<ChannelId, Flow>; 2],
    /// A byte that came from this end was changed, and whether it was a sealed one: nobody sees
    /// to the padding of a packet without a cipher.
    changed: [Option<Sealed>; 2],
    /// Time has passed, somebody has hung up, or the like.
    disturbed: bool,
}

impl Pair {
    fn new(client: u8, server: u8) -> Pair {
        Pair {
            ends: [
                Subject::new(Role::Client, ends::tuning(client)),
                Subject::new(Role::Server, ends::tuning(server)),
            ],
            wires: Default::default(),
            flows: Default::default(),
            changed: [None; 2],
            disturbed: false,
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let what = script.byte();
        let end = usize::from(what & 1);
        match (what >> 1) % 16 {
            0 | 1 => {
                self.carry(end, usize::MAX, usize::MAX);
            }
            2 => {
                let (len, piece) = (script.short(), usize::from(script.byte()) + 1);
                self.carry(end, len, piece);
            }
            3 => self.change(end, script),
            4 => {
                let millis = script.choice(&[1, 100, 1000, 10_000, 40_000, 3_600_000]);
                self.disturbed |= millis > 1;
                self.ends.iter_mut().for_each(|end| end.pass(Duration::from_millis(millis)));
            }
            5 | 6 => self.open(script),
            7..=9 => self.send(end, script),
            10 => self.consume(end, script.byte(), script.short()),
            11 => self.settle(),
            12 => self.with_channel(end, script, |end, id| end.conn.send_eof(id)),
            13 => self.with_channel(end, script, Subject::close),
            14 => {
                let code = script.number();
                self.with_channel(end, script, |end, id| {
                    end.conn.send_exit_status(id, code);
                    end.conn.window_change(id, code, code);
                });
            }
            _ => self.hang_up(end, script.byte()),
        }
    }

    // --- the wire ---

    /// Moves up to `len` bytes from one end to the other.
    fn carry(&mut self, from: usize, len: usize, piece: usize) -> bool {
        let output = self.ends[from].read(len);
        self.wires[from].extend_from_slice(&output);
        let wire = &self.wires[from];
        let taken = self.ends[1 - from].feed(&wire[..len.min(wire.len())], piece);
        self.wires[from].drain(..taken);
        if self.ends[1 - from].has_ended() {
            self.wires[from].clear();
        }
        taken > 0 || !output.is_empty()
    }

    fn change(&mut self, from: usize, script: &mut Script<'_>) {
        let output = self.ends[from].read(usize::MAX);
        self.wires[from].extend_from_slice(&output);
        let (at, by) = (script.short(), script.byte());
        let sealed = self.ends.iter().all(|end| end.authenticated.is_some());
        let wire = &mut self.wires[from];
        if !wire.is_empty() && by != 0 && self.changed[from].is_none() {
            let at = at % wire.len();
            wire[at] ^= by;
            self.changed[from] = Some(sealed);
        }
    }

    fn settle(&mut self) {
        loop {
            let up = self.carry(0, usize::MAX, usize::MAX);
            let down = self.carry(1, usize::MAX, usize::MAX);
            if !up && !down {
                break;
            }
        }
    }

    fn hang_up(&mut self, end: usize, how: u8) {
        if how > 3 {
            return self.settle();
        }
        self.disturbed = true;
        match how & 1 {
            0 => self.ends[end].end_input(),
            _ => {
                self.ends[end].conn.disconnect("enough");
                self.ends[end].look();
            }
        }
    }

    // --- the owners ---

    fn open(&mut self, script: &mut Script<'_>) {
        if self.ends[0].channels.len() < CHANNELS_MAX {
            self.ends[0].open(script.choice(&["rpc", "attach"]));
        }
    }

    fn with_channel(
        &mut self,
        end: usize,
        script: &mut Script<'_>,
        act: impl FnOnce(&mut Subject, ChannelId),
    ) {
        let index = script.byte();
        if let Some(id) = self.ends[end].channel(index) {
            act(&mut self.ends[end], id);
            self.ends[end].look();
        }
    }

    fn send(&mut self, end: usize, script: &mut Script<'_>) {
        let (index, len) = (script.byte(), script.short());
        let Some(id) = self.ends[end].channel(index) else { return };
        let flow = self.flows[end].entry(id).or_default();
        let bytes: Vec<u8> = (flow.sent..flow.sent + len).map(pattern).collect();
        flow.sent += self.ends[end].send(id, &bytes);
    }

    fn consume(&mut self, end: usize, index: u8, len: usize) {
        let Some(id) = self.ends[end].channel(index) else { return };
        let received = self.ends[end].conn.received(id);
        let received = &received[..len.min(received.len())];
        let flow = self.flows[1 - end].entry(id).or_default();
        let expected = (flow.arrived..).map(pattern);
        assert!(received.iter().copied().zip(expected).all(|(got, sent)| got == sent), "changed");
        flow.arrived += received.len();
        assert!(flow.arrived <= flow.sent, "more arrives than was sent");
        self.ends[end].consume(id, len);
    }

    // --- the end of it ---

    /// No more faults: all that can still arrive does.
    fn finish(&mut self) {
        loop {
            self.settle();
            let mut moved = false;
            for end in 0..2 {
                let waiting: usize = {
                    let ids: Vec<ChannelId> = self.ends[end].living().collect();
                    ids.iter().map(|id| self.ends[end].conn.received(*id).len()).sum()
                };
                moved |= waiting > 0;
                let count = self.ends[end].living().count();
                for index in 0..count {
                    self.consume(end, u8::try_from(index).unwrap_or(0), usize::MAX);
                }
            }
            if !moved {
                break;
            }
        }
        self.check_changes();
        self.check_end();
    }

    /// A changed byte is the end: at once, or when what it announces does not come.
    fn check_changes(&mut self) {
        for end in 0..2 {
            if self.changed[1 - end] == Some(true) {
                self.ends[end].pass(Duration::from_secs(120));
                assert!(self.ends[end].has_ended(), "a change goes unnoticed");
            }
        }
    }

    fn check_end(&self) {
        if self.disturbed || self.changed != [None; 2] {
            return;
        }
        let errors = [&self.ends[0].error, &self.ends[1].error];
        assert_eq!(errors, [&None, &None], "an end without a reason");
        assert!(self.ends.iter().all(|end| end.authenticated.is_some()), "not in");
        for end in 0..2 {
            for (id, flow) in &self.flows[end] {
                let closed = self
                    .ends
                    .iter()
                    .any(|end| end.channels.get(id).is_none_or(|known| known.closed_by_us));
                assert!(closed || flow.arrived == flow.sent, "{id:?} has lost its tail");
            }
        }
    }
}

/// The byte at this place of every stream.
fn pattern(place: usize) -> u8 {
    u8::try_from(place % 251).unwrap_or(0)
}
