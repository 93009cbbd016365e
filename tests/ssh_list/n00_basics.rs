//! Number 0: What must work at all.

use convocate::ssh::kex::KexName;
use convocate::ssh::{Event, Tuning};

use crate::pair::{Cut, Pair};

#[test]
fn every_method_and_cipher_connects_and_echoes_in_every_cut() {
    const KEXES: [&[KexName]; 3] =
        [&[KexName::MlKem768X25519], &[KexName::Curve25519], &[KexName::Curve25519LibSsh]];
    for kex in KEXES {
        for prefer_aes in [true, false] {
            for cut in [Cut::Whole, Cut::Bytes, Cut::Random] {
                let tuning = Tuning { kex, prefer_aes, ..Tuning::default() };
                let mut pair = Pair::tuned(tuning, Tuning::default());
                pair.cut = cut;
                pair.settle();
                pair.assert_ready();
                let (ours, theirs) = pair.open("rpc");
                assert_eq!(pair.client.send(ours, b"hello"), 5);
                pair.client.send_eof(ours);
                pair.settle();
                assert_eq!(pair.server.received(theirs), b"hello");
                pair.server.consume(theirs, 5);
                assert_eq!(pair.server.send(theirs, b"world"), 5);
                pair.server.send_eof(theirs);
                pair.server.send_exit_status(theirs, 7);
                pair.server.close(theirs);
                pair.settle();
                assert_eq!(pair.client.received(ours), b"world");
                pair.client.consume(ours, 5);
                pair.settle();
                assert_eq!(
                    pair.server_events,
                    [
                        Event::Readable { channel: theirs },
                        Event::Eof { channel: theirs },
                        Event::Closed { channel: theirs },
                    ]
                );
                assert_eq!(
                    pair.client_events,
                    [
                        Event::Readable { channel: ours },
                        Event::Eof { channel: ours },
                        Event::ExitStatus { channel: ours, code: 7 },
                        Event::Closed { channel: ours },
                    ]
                );
            }
        }
    }
}
