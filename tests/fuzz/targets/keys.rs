//! What a terminal sends, as the screen's keys: the same however it is cut, control characters only
//! as the keys that they are, and no key out of a control string.

use convocate::base::time::Mono;
use convocate::tui::keys::{Decoder, Key};

const NOW: Mono = Mono::from_nanos(1);
const LATER: Mono = Mono::from_nanos(10_000_000_000);
const LATEST: Mono = Mono::from_nanos(20_000_000_000);

pub fn run(input: &[u8]) {
    let Some((&head, stream)) = input.split_first() else { return };
    let whole = decoded(stream, stream.len().max(1));
    let step = usize::from(head) % 40 + 1;
    assert_eq!(decoded(stream, step), whole, "cut every {step} bytes");
    for key in &whole {
        match key {
            Key::Char(sign) | Key::Alt(sign) => assert!(!sign.is_control(), "{key:?}"),
            Key::Ctrl(sign) => assert!(sign.is_ascii_lowercase(), "{key:?}"),
            Key::Paste(text) => assert!(!text.chars().any(char::is_control), "{key:?}"),
            _ => {}
        }
    }
    // A string of any kind swallows all that is in it.
    let inside: Vec<u8> =
        stream.iter().copied().filter(|byte| !matches!(byte, 0x07 | 0x18 | 0x1a | 0x1b)).collect();
    for start in [&b"\x1b]"[..], b"\x1bP", b"\x1b_", b"\x1b^", b"\x1bX", b"\x9d", b"\xc2\x90"] {
        let string = [start, &inside, b"\x1b\\x"].concat();
        assert_eq!(decoded(&string, step), [Key::Char('x')]);
    }
    // One that never ends is over after a while, and so is anything else that was begun.
    let (mut decoder, mut keys) = (Decoder::default(), Vec::new());
    decoder.feed(NOW, stream, &mut keys);
    decoder.tick(LATER, &mut keys);
    decoder.tick(LATEST, &mut keys);
    let is_pasting = decoder.deadline().is_none() && {
        let before = keys.len();
        decoder.feed(LATER, b"j", &mut keys);
        keys.len() == before
    };
    if !is_pasting {
        assert!(matches!(keys.last(), Some(Key::Char(_))), "{:?}", keys.last());
    }
}

fn decoded(stream: &[u8], step: usize) -> Vec<Key> {
    let (mut decoder, mut keys) = (Decoder::default(), Vec::new());
    stream.chunks(step).for_each(|piece| decoder.feed(NOW, piece, &mut keys));
    keys
}
