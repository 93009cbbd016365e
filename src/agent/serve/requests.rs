//! What the connections of tcp/222 ask for, calls and terminals, and the end of it.

use std::io::Write;

use super::{Server, Waiting, certificate, setup};
use crate::agent::action::Caller;
use crate::agent::peer::PeerEvent;
use crate::base::slots::Key;
use crate::base::time::Now;
use crate::limits::CALLERS_MAX;
use crate::rpc::call::Call;
use crate::rpc::response;
use crate::ssh::ChannelId;

impl<W: Write> Server<W> {
    pub(super) fn on_peer_event(&mut self, now: Now, peer: Key, event: PeerEvent) {
        match event {
            PeerEvent::KeyOffered { key, .. } => {
                self.peers.authorize(&mut self.event_loop.log, now.mono, peer, &key);
            }
            PeerEvent::Authenticated { key } => {
                self.peers.authenticated(&mut self.event_loop.log, now.mono, peer, key);
            }
            PeerEvent::Call { channel, call } => self.called(now, peer, channel, call),
            PeerEvent::Attach { channel, header } => {
                self.with_terminals(|terminals, context| {
                    terminals.requested(context, now, peer, channel, header);
                });
            }
            PeerEvent::Resize { channel, size } => self.with_terminals(|terminals, context| {
                terminals.resize(context, now.mono, peer, channel, size);
            }),
            PeerEvent::TerminalInput { channel } | PeerEvent::TerminalSpace { channel } => {
                self.terminals.touch(peer, channel);
            }
            PeerEvent::ChannelGone { channel } => self.forget_channel(now, peer, channel),
            PeerEvent::Gone(error) => {
                self.peers.tell_end(&mut self.event_loop.log, peer, &error);
                self.forget_peer(now, peer);
            }
        }
    }

    fn called(&mut self, now: Now, peer: Key, channel: ChannelId, call: Call) {
        if let Some(answer) = certificate::answer(&self.paths, &call) {
            return self.peers.answer(peer, channel, response::to_line(&answer));
        }
        if call == Call::Ping {
            self.agent.claude_on_host(self.claude.found(&self.paths, now.mono));
            self.agent.capacity_on_host(self.gauge.capacity(now.mono, &self.agent));
        }
        if let Call::Egress(egress) = &call {
            self.agent.egress_now(egress.id, self.egress.now(egress.id));
        }
        if let Call::Send(send) = &call {
            // What it waits for now, and not a moment ago.
            self.attentions.look(&mut self.event_loop.registry, now.mono, send.id);
            self.take_looks(now);
        }
        if call.wants_free_port() {
            self.agent.ports_in_use(setup::ports_in_use());
        }
        match self.callers.insert(Waiting { peer, channel, changes: !call.only_reads() }) {
            Ok(key) => self.agent.call(now, Caller(key.to_bits()), call),
            Err(_) => {
                let busy = format!("{CALLERS_MAX} calls are waiting for their answers");
                self.peers.answer(peer, channel, response::refusal(&busy));
            }
        }
    }

    /// All channels of a connection are gone with it.
    pub(super) fn forget_peer(&mut self, now: Now, peer: Key) {
        let of_peer = |(_, waiting): &(Key, &Waiting)| waiting.peer == peer;
        let callers: Vec<Key> = self.callers.iter().filter(of_peer).map(|(key, _)| key).collect();
        for key in callers {
            self.callers.remove(key);
            self.agent.caller_gone(Caller(key.to_bits()));
        }
        self.with_terminals(|terminals, context| terminals.hang_up_peer(context, now, peer));
    }

    fn forget_channel(&mut self, now: Now, peer: Key, channel: ChannelId) {
        let is_its = |waiting: &Waiting| (waiting.peer, waiting.channel) == (peer, channel);
        let caller = self.callers.iter().find(|(_, waiting)| is_its(waiting));
        if let Some(key) = caller.map(|(key, _)| key) {
            self.callers.remove(key);
            self.agent.caller_gone(Caller(key.to_bits()));
        }
        self.with_terminals(|terminals, context| terminals.hang_up(context, now, peer, channel));
    }
}
