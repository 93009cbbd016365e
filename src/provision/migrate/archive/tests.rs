//! Every kind of record there and back, cut everywhere, and with each byte changed.

use super::*;
use crate::provision::ship::frame::{Packer, Unpacked, Unpacker};

fn attributes() -> FileAttributes {
    FileAttributes {
        mode: 0o4751,
        user: 1337,
        group: 7,
        seconds: -3,
        nanos: 999_999_999,
        extended: vec![(b"user.a".to_vec(), vec![0, 1, 255]), (b"user.b".to_vec(), Vec::new())],
    }
}

fn records() -> Vec<TreeRecord<'static>> {
    let attributes = attributes();
    vec![
        TreeRecord::Top(attributes.clone()),
        TreeRecord::Directory { name: b"d", attributes: attributes.clone() },
        TreeRecord::File {
            name: b"a\nname \xff",
            size: 1 << 40,
            has_links: true,
            attributes: attributes.clone(),
        },
        TreeRecord::Data { offset: 1 << 39, bytes: b"content" },
        TreeRecord::Link { name: b"other", to: 0 },
        TreeRecord::Up,
        TreeRecord::Symlink {
            name: b"link",
            target: b"/etc/passwd",
            attributes: FileAttributes::default(),
        },
        TreeRecord::Fifo { name: b"fifo", attributes },
        TreeRecord::Up,
    ]
}

fn bytes(records: &[TreeRecord<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    records.iter().for_each(|record| encode(record, &mut out));
    out
}

/// The records as they are understood, as text, and whether the end is the end of one.
fn read(mut input: &[u8], step: usize) -> Result<(Vec<String>, bool), ArchiveFault> {
    let (mut decoder, mut said) = (Decoder::default(), Vec::new());
    while !input.is_empty() {
        let (taken, record) = decoder.push(&input[..step.min(input.len())])?;
        said.extend(record.map(|record| format!("{record:?}")));
        input = &input[taken..];
    }
    Ok((said, decoder.is_empty()))
}

#[test]
fn every_record_comes_back_however_it_is_cut() {
    let wanted: Vec<String> = records().iter().map(|record| format!("{record:?}")).collect();
    let all = bytes(&records());
    for step in [1, 3, 7, all.len()] {
        assert_eq!(read(&all, step), Ok((wanted.clone(), true)), "in steps of {step}");
    }
    let mut ends = vec![0];
    ends.extend((1..=wanted.len()).map(|count| bytes(&records()[..count]).len()));
    for length in 0..all.len() {
        let (said, is_whole) = read(&all[..length], all.len()).expect("a beginning is no fault");
        assert_eq!(is_whole, ends.contains(&length), "cut at {length}");
        assert!(wanted.starts_with(&said), "cut at {length}");
    }
}

#[test]
fn a_changed_byte_is_seen_by_the_frames_or_by_the_hash() {
    let all = bytes(&records());
    let hash = |records: &[TreeRecord<'_>]| {
        let mut manifest = Manifest::default();
        records.iter().for_each(|record| manifest.add(record));
        manifest.finish()
    };
    let right = hash(&records());
    for at in 0..all.len() {
        let mut changed = all.clone();
        changed[at] ^= 1;
        // Whatever it is taken for is another tree; that it is a fault is as good.
        let mut manifest = Manifest::default();
        let (mut decoder, mut rest, mut is_good) = (Decoder::default(), &changed[..], true);
        while is_good && !rest.is_empty() {
            match decoder.push(rest) {
                Ok((taken, record)) => {
                    record.iter().for_each(|record| manifest.add(record));
                    rest = &rest[taken..];
                }
                Err(_) => is_good = false,
            }
        }
        let is_flag = format!("{:?}", read(&changed, 99)).contains("has_links: false");
        let is_same = is_good && decoder.is_empty() && manifest.finish() == right;
        assert_eq!(is_same, is_flag, "byte {at}");
    }
    let (mut packer, mut packed) = (Packer::default(), Vec::new());
    packer.pack(&all, &mut packed);
    packer.finish(&mut packed);
    for at in 0..packed.len() {
        let mut changed = packed.clone();
        changed[at] ^= 1;
        // Another way to say the same, as a match elsewhere, is no harm.
        assert!(arrived(&changed).is_none_or(|plain| plain == all), "byte {at}");
        assert_eq!(arrived(&packed[..at]), None, "cut at {at}");
    }
    assert_eq!(arrived(&packed), Some(all));
}

/// What arrives of packed bytes that have their end.
fn arrived(mut input: &[u8]) -> Option<Vec<u8>> {
    let (mut unpacker, mut all) = (Unpacker::default(), Vec::new());
    while !input.is_empty() {
        let (taken, unpacked) = unpacker.push(input).ok()?;
        match unpacked {
            Unpacked::End => return Some(all),
            Unpacked::Plain(plain) => all.extend_from_slice(plain),
            Unpacked::More => {}
        }
        input = &input[taken..];
    }
    None
}

#[test]
fn what_is_no_record_is_refused() {
    for name in [&b".."[..], b"/etc/passwd", b"a/b", b"", b"nul\0"] {
        let record = TreeRecord::Link { name, to: 0 };
        assert_eq!(read(&bytes(&[record]), 99), Err(ArchiveFault::Name), "{name:?}");
    }
    let long = u32::try_from(TREE_RECORD_BYTES_MAX + 1).unwrap().to_be_bytes();
    assert_eq!(read(&long, 4), Err(ArchiveFault::Long));
    let wrong = FileAttributes { mode: 0o10000, ..FileAttributes::default() };
    assert_eq!(read(&bytes(&[TreeRecord::Top(wrong)]), 999), Err(ArchiveFault::Broken));
    let mut behind = bytes(&[TreeRecord::Up]);
    behind[3] += 1;
    behind.push(0);
    assert_eq!(read(&behind, 99), Err(ArchiveFault::Broken));
}

#[test]
fn a_hash_tells_trees_apart_and_not_where_they_lie() {
    let hash = |records: Vec<TreeRecord<'_>>| {
        let mut manifest = Manifest::default();
        records.iter().for_each(|record| manifest.add(record));
        manifest.finish()
    };
    let mut outside = records();
    if let TreeRecord::File { has_links, .. } = &mut outside[2] {
        *has_links = false;
    }
    assert_eq!(hash(records()), hash(outside));
    let mut other = records();
    other[4] = TreeRecord::Link { name: b"other", to: 1 };
    assert_ne!(hash(records()), hash(other));
}
