//! What is kept and what is dropped, as one table; and that cutting changes nothing.

use super::super::leave::{ENTER, QUESTION, RESET};
use super::*;
use crate::limits::{TERMINAL_COMMAND_BYTES_MAX, TERMINAL_SEQUENCE_BYTES_MAX};

/// Reaches the terminal as it is.
const KEPT: &[(&str, &[&str])] = &[
    ("text", &["plain text", "äß 日本 🦀 e\u{301}", "\u{a0}"]),
    ("controls that draw, and the bell", &["\x07\x08\t\n\x0b\x0c\r\x0e\x0f"]),
    (
        "colours and styles",
        &["\x1b[m", "\x1b[0;1;31m", "\x1b[38;2;1;2;3m", "\x1b[4:3;58:2::1:2:3m"],
    ),
    ("the cursor", &["\x1b[H", "\x1b[10;20H", "\x1b[5A\x1b[5B\x1b[5C\x1b[5D\x1b[G\x1b[3d\x1b[2`"]),
    ("the cursor, saved and restored", &["\x1b7", "\x1b8", "\x1b[s", "\x1b[u"]),
    ("erasing", &["\x1b[J", "\x1b[2J", "\x1b[K", "\x1b[1K", "\x1b[3X", "\x1b[?J"]),
    ("inserting, deleting, repeating", &["\x1b[3@", "\x1b[3P", "\x1b[3L", "\x1b[3M", "\x1b[3b"]),
    (
        "scrolling and its region",
        &["\x1b[2;20r", "\x1b[r", "\x1b[3S", "\x1b[3T", "\x1bM\x1bD\x1bE"],
    ),
    ("tabs", &["\x1b[2I", "\x1b[2Z"]),
    ("other screens", &["\x1b[?1049h", "\x1b[?1049l", "\x1b[?47h", "\x1b[?1047h", "\x1b[?1048h"]),
    ("mouse", &["\x1b[?1000h", "\x1b[?1002h", "\x1b[?1003;1006h", "\x1b[?1016l"]),
    ("focus, bracketed paste, synchronised output", &["\x1b[?1004h", "\x1b[?2004h", "\x1b[?2026h"]),
    ("cursor keys and keypad", &["\x1b[?1h", "\x1b=", "\x1b>", "\x1b[?66h"]),
    ("the look of the cursor", &["\x1b[?25l", "\x1b[?12h", "\x1b[4 q", "\x1b]12;#ff0000\x07"]),
    ("wrapping, inverse screen, insert mode", &["\x1b[?7l", "\x1b[?5h", "\x1b[4h"]),
    ("extended keys (Shift-Enter)", &["\x1b[>4;2m", "\x1b[>4m"]),
    ("kitty's keyboard", &["\x1b[>1u", "\x1b[<u", "\x1b[=5;1u"]),
    ("margins", &["\x1b[?69h", "\x1b[5;40s"]),
    ("character sets", &["\x1b(0", "\x1b(B", "\x1b)0"]),
    ("titles", &["\x1b]0;title\x07", "\x1b]2;日本\x1b\\", "\x1b]1;icon\x07"]),
    ("colours, set", &["\x1b]4;1;rgb:ff/00/00\x07", "\x1b]10;white\x07", "\x1b]11;#112233\x1b\\"]),
    ("colours, set back", &["\x1b]104\x07", "\x1b]104;3\x07", "\x1b]110\x07", "\x1b]111\x1b\\"]),
    (
        "links and the directory",
        &["\x1b]8;id=1;https://x.example/?q\x1b\\", "\x1b]7;file://h/d\x07"],
    ),
    (
        "writing the clipboard",
        &["\x1b]52;c;aGVsbG8=\x07", "\x1b]52;;aGVsbG8=\x1b\\", "\x1b]52;p;\x07"],
    ),
];

/// Does not.
const DROPPED: &[(&str, &[&str])] = &[
    (
        "what are you",
        &["\x1b[c", "\x1b[0c", "\x1b[>c", "\x1b[>0c", "\x1b[=c", "\x1bZ", "\x1b[>q", "\x1b[>0q"],
    ),
    ("how are you, where is the cursor", &["\x1b[5n", "\x1b[6n", "\x1b[?6n", "\x1b[?996n"]),
    ("modes", &["\x1b[?25$p", "\x1b[4$p", "\x1b[?u", "\x1b[?4m", "\x1b[x", "\x1b[1x"]),
    ("checksums and other reports", &["\x1b[1;1;1;1;10;10*y", "\x1b[1$w", "\x1b[&u", "\x1b[1$u"]),
    (
        "the window",
        &["\x1b[14t", "\x1b[18t", "\x1b[21t", "\x1b[8;10;10t", "\x1b[2t", "\x1b[22;0;0t"],
    ),
    (
        "colours, asked for",
        &[
            "\x1b]4;1;?\x07",
            "\x1b]4;0;red;1;?\x1b\\",
            "\x1b]5;0;?\x07",
            "\x1b]10;?\x07",
            "\x1b]11;?\x1b\\",
            "\x1b]12;?\x07",
            "\x1b]19;?\x07",
            "\x1b]10;red;?\x07",
            "\x1b]21;foreground=?\x1b\\",
        ],
    ),
    ("the clipboard, read", &["\x1b]52;c;?\x07", "\x1b]52;;?\x1b\\", "\x1b]52;c;a?\x07"]),
    ("answerback", &["\x05"]),
    (
        "what of the terminal's own protocols asks",
        &[
            "\x1b]7501;?\x07",
            "\x1b]7501;\x1b\\",
            "\x1b[?1;1;0S",
            "\x1b]66;w=1;x\x07",
            "\x1b]5522;?\x07",
        ],
    ),
    (
        "modes that report by themselves",
        &["\x1b[?2031h", "\x1b[?2048h", "\x1b[?1001h", "\x1b[1;2;3;4;5T"],
    ),
    (
        "device control: settings, terminfo, sixel",
        &[
            "\x1bP$qm\x1b\\",
            "\x1bP$q q\x1b\\",
            "\x1bP+q524742\x1b\\",
            "\x1bPq#0~\x1b\\",
            "\x1bP1;1|17/ab\x1b\\",
            "\x1bP=1s\x1b\\",
        ],
    ),
    ("what is wrapped for passing", &["\x1bPtmux;\x1b\x1b[c\x1b\\"]),
    ("applications: kitty's images", &["\x1b_Gi=1,a=q;AAAA\x1b\\"]),
    ("other strings", &["\x1b^private\x1b\\", "\x1bXstring\x1b\\", "\x1bktitle\x1b\\"]),
    (
        "notices and other commands",
        &[
            "\x1b]9;text\x07",
            "\x1b]777;notify;a;b\x07",
            "\x1b]99;;x\x07",
            "\x1b]1337;File=:AA\x07",
            "\x1b]133;A\x07",
            "\x1b]22;text\x07",
            "\x1b]13;red\x07",
            "\x1b]\x07",
        ],
    ),
    (
        "what cannot be set back",
        &["\x1bH", "\x1b[3g", "\x1b[?6h", "\x1b[?3h", "\x1b[20h", "\x1b*0", "\x1bN", "\x1bn"],
    ),
    ("what resets", &["\x1bc", "\x1b[!p", "\x1b#8", "\x1b%@", "\x1b[?1s", "\x1b[?1r"]),
    ("the operator's scrollback and printer", &["\x1b[3J", "\x1b[03J", "\x1b[i", "\x1b[5i"]),
    ("eight-bit answers", &["\x1b G"]),
    ("controls of eight bits", &["\u{9b}", "\u{90}", "\u{9d}", "\u{80}", "\u{9f}"]),
    ("other controls", &["\0\x01\x06\x10\x11\x13\x7f"]),
    ("numbers without sense", &["\x1b[999999b", "\x1b[1?2m", "\x1b[1 2q", "\x1b[>0m"]),
];

/// Is made something else, in one form for all terminals.
const CHANGED: &[(&[u8], &str)] = &[
    (b"\x1b[?6;25;2031h", "\x1b[?25h"),
    (b"\x1b[3\n1m", "\n\x1b[31m"),
    (b"\x1b[31\x1b[32m", "\x1b[32m"),
    (b"\x1b[31\x186n", "6n"),
    (b"\x1b[31\xc3\xa4", "ä"),
    (b"\x1b]0;a\nb\x07", "\x1b]0;ab\x07"),
    (b"\x1b]0;a\x1b[6n", ""),
    (b"\x9b6n\x9d\xff", "\u{fffd}6n\u{fffd}\u{fffd}"),
    // What begins a string in eight bits is no byte of text.
    (b"\x90$qm\x9c\x9f\x98\x9e", "\u{fffd}$qm\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
    (b"\xe2\x82x\xe2\x1b[m\xc0\xed\xa0\x80", "\u{fffd}x\u{fffd}\x1b[m\u{fffd}\u{fffd}"),
    (b"\x1b]0;\xc2\x9c\x07\x1b]0;\xff\x07", ""),
    (b"\x1b[38;2;1;2;3mred\x1b[6n\x1b]11;?\x07 on", "\x1b[38;2;1;2;3mred on"),
];

fn filtered(pieces: &[&[u8]], clipboard: Clipboard) -> Vec<u8> {
    let (mut filter, mut output) = (Filter::new(clipboard), Vec::new());
    pieces.iter().for_each(|piece| filter.feed(piece, &mut output));
    output
}

fn open(bytes: &[u8]) -> String {
    String::from_utf8(filtered(&[bytes], Clipboard::Writable)).expect("UTF-8")
}

#[test]
fn what_draws_is_kept_and_what_asks_is_dropped() {
    for (kind, examples) in KEPT {
        for example in *examples {
            assert_eq!(open(example.as_bytes()), **example, "{kind}");
        }
    }
    for (kind, examples) in DROPPED {
        for example in *examples {
            let around = format!("a{example}b");
            assert_eq!(open(around.as_bytes()), "ab", "{kind}: {}", example.escape_debug());
        }
    }
    for (input, output) in CHANGED {
        assert_eq!(open(input), *output, "{}", input.escape_ascii());
    }
}

#[test]
fn the_clipboard_is_a_setting() {
    let copy = b"a\x1b]52;c;aGVsbG8=\x07b\x1b]2;title\x07";
    assert_eq!(filtered(&[copy], Clipboard::Closed), b"ab\x1b]2;title\x07");
}

#[test]
fn cutting_changes_nothing() {
    let all = |table: &[(&str, &[&str])]| -> Vec<u8> {
        table.iter().flat_map(|(_, examples)| examples.concat().into_bytes()).collect()
    };
    let changed: Vec<u8> = CHANGED.iter().flat_map(|(input, _)| input.to_vec()).collect();
    let stream =
        [all(KEPT), all(DROPPED), changed, b"sixteen and more plain bytes".to_vec()].concat();
    let whole = filtered(&[&stream], Clipboard::Writable);
    for cut in 0..=stream.len() {
        let (first, second) = stream.split_at(cut);
        assert_eq!(filtered(&[first, second], Clipboard::Writable), whole, "cut at {cut}");
    }
    for size in 1..40 {
        let pieces: Vec<&[u8]> = stream.chunks(size).collect();
        assert_eq!(filtered(&pieces, Clipboard::Writable), whole, "pieces of {size}");
    }
    assert_eq!(filtered(&[&whole], Clipboard::Writable), whole, "again");
}

#[test]
fn what_is_too_long_is_dropped_whole() {
    let long = |start: &str, len: usize, end: &str| {
        [start.as_bytes(), &vec![b'1'; len], end.as_bytes(), b"on"].concat()
    };
    for (start, limit, end) in [
        ("\x1b[", TERMINAL_SEQUENCE_BYTES_MAX, "m"),
        ("\x1b]52;c;", TERMINAL_COMMAND_BYTES_MAX, "\x07"),
        ("\x1b]2;", TERMINAL_TEXT_BYTES_MAX, "\x1b\\"),
        ("\x1bP", 3 * TERMINAL_COMMAND_BYTES_MAX, "\x1b\\"),
    ] {
        assert_eq!(open(&long(start, limit + 1, end)), "on", "{}", start.escape_debug());
    }
    let copy = long("\x1b]52;c;", TERMINAL_COMMAND_BYTES_MAX - 5, "\x07");
    assert_eq!(open(&copy).len(), copy.len());
    let mut filter = Filter::new(Clipboard::Writable);
    filter.feed(&vec![b'1'; 4 * TERMINAL_COMMAND_BYTES_MAX], &mut Vec::new());
    filter.feed(b"\x1b]", &mut Vec::new());
    filter.feed(&vec![b'1'; 4 * TERMINAL_COMMAND_BYTES_MAX], &mut Vec::new());
    assert!(filter.parser.held().len() <= TERMINAL_COMMAND_BYTES_MAX);
}

#[test]
fn all_that_is_let_through_is_set_back() {
    let reset = String::from_utf8(RESET.to_vec()).expect("text");
    for mode in MODES {
        let mode = std::str::from_utf8(mode).expect("digits");
        // Leaving the alternate screen is one for all its modes.
        let mode = if ["47", "1047", "1048"].contains(&mode) { "1049" } else { mode };
        let usual = if ["7", "25"].contains(&mode) { 'h' } else { 'l' };
        assert!(reset.contains(&format!("\x1b[?{mode}{usual}")), "mode {mode}");
    }
    let colours = ["\x1b]104\x1b\\", "\x1b]110\x1b\\", "\x1b]111\x1b\\", "\x1b]112\x1b\\"];
    let keys = ["\x1b[>4m", "\x1b[<99u", "\x1b[=0u", "\x1b>"];
    let drawing =
        ["\x1b[0m", "\x1b(B", "\x1b)B", "\x0f", "\x1b[4l", "\x1b[r", "\x1b[0 q", "\x1b]8;;\x1b\\"];
    for code in colours.into_iter().chain(keys).chain(drawing) {
        assert!(reset.contains(code), "{}", code.escape_debug());
    }
    // A session cannot do to the title's stack or ask what we do.
    assert_eq!(filtered(&[ENTER, QUESTION], Clipboard::Writable), b"\x1b7");
    assert_eq!(open(b"\x1b[?12r"), "");
}

#[test]
fn the_keyboard_of_a_screen_that_is_left_is_set_back() {
    let back = "\x1b[<99u\x1b[=0u\x1b[?1049l";
    assert_eq!(open(b"\x1b[?1049h\x1b[>31u\x1b[?1049l"), format!("\x1b[?1049h\x1b[>31u{back}"));
    // Not where there is nothing to be done, nor on the screen that is shown in the end.
    let others = ["\x1b[>31u\x1b[?1049h\x1b[?1049l", "\x1b[?1049h\x1b[u\x1b[?1049l\x1b[<u"];
    for other in others {
        assert_eq!(open(other.as_bytes()), other);
    }
    let twice = open(b"\x1b[?1049h\x1b[>1u\x1b[?1049l\x1b[?1049h\x1b[?1049l");
    assert_eq!(twice.matches("\x1b[<99u").count(), 1, "{twice:?}");
}

#[test]
fn the_screen_is_known() {
    let mut filter = Filter::new(Clipboard::Writable);
    let steps: [(&[u8], bool); 7] = [
        (b"\x1b[?1049h", true),
        (b"\x1b[?25;1049l", false),
        (b"\x1b[1049h\x1b[?10", false),
        (b"47h", true),
        (b"\x1b[?25h", true),
        (b"\x1b[?1049$p", true),
        (b"\x1b[?047l", false),
    ];
    for (bytes, is_alternate) in steps {
        filter.feed(bytes, &mut Vec::new());
        assert_eq!(filter.is_alternate(), is_alternate, "{}", bytes.escape_ascii());
    }
}

#[test]
fn what_tmux_says_when_it_detaches_is_left_out() {
    let shown = |input: &[u8]| {
        let (mut filter, mut output) = (Filter::new(Clipboard::Closed), Vec::new());
        filter.feed(input, &mut output);
        String::from_utf8(output).expect("text")
    };
    let farewell = "[detached (from session claude)]\r\n";
    let left = shown(format!("\x1b[?1049hx\x1b[?1049l\x1b[?25h{farewell}").as_bytes());
    assert_eq!(left, "\x1b[?1049hx\x1b[?1049l\x1b[?25h");
    let ended = shown(b"\x1b[?1049hx\x1b[?1049l[exited]\r\n[exited]\r\n");
    assert_eq!(ended, "\x1b[?1049hx\x1b[?1049l[exited]\r\n", "once");
    // In a session, and where another one is told of, it is text as any.
    assert!(shown(farewell.as_bytes()).contains("detached"));
    assert!(shown(format!("\x1b[?1049h{farewell}").as_bytes()).contains("claude)]\r\n"));
    let late = "\x1b[?1049h\x1b[?1049ltext[exited]\r\n";
    assert_eq!(shown(late.as_bytes()), late);
    let other = "\x1b[?1049h\x1b[?1049l[detached (from session other)]\r\n";
    assert_eq!(shown(other.as_bytes()), other);
}
