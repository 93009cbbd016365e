//! A tree of everything there and back, and records that make no sense.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::base::tree::{FileAttributes, TreeRecord};
use crate::io::scratch::Scratch;

/// The records of a tree as text, but for what is in its files.
fn told(root: &Path) -> Vec<String> {
    let mut said = Vec::new();
    read_tree(root, Contents::Read, |record| {
        said.push(format!("{record:?}"));
        ControlFlow::Continue(())
    })
    .unwrap();
    said
}

fn transplant(from: &Path, to: &Path) -> TreeRead {
    let mut writer = TreeWriter::new(to).unwrap();
    let read = read_tree(from, Contents::Read, |record| {
        writer.write(record.clone()).unwrap();
        ControlFlow::Continue(())
    });
    writer.finish().unwrap();
    read.unwrap()
}

#[test]
fn a_tree_of_everything_is_the_same_in_another_place() {
    let scratch = Scratch::new();
    let from = scratch.join("from");
    let at = |name: &str| from.join(name);
    fs::create_dir_all(at("a/b")).unwrap();
    fs::write(at("a/one"), "content").unwrap();
    fs::hard_link(at("a/one"), at("z")).unwrap();
    fs::hard_link(at("a/one"), scratch.join("outside")).unwrap();
    fs::write(at("a\nline \u{e9}"), "").unwrap();
    fs::set_permissions(at("a/one"), fs::Permissions::from_mode(0o4751)).unwrap();
    symlink("/etc/passwd", at("a/out")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    assert!(Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
    let _listener = UnixListener::bind(at("socket")).unwrap();
    let sparse = fs::File::create(at("sparse")).unwrap();
    sparse.set_len(1 << 34).unwrap();
    sparse.write_all_at(b"far", (1 << 33) + 5).unwrap();
    fs::set_permissions(at("a/b"), fs::Permissions::from_mode(0o500)).unwrap();
    let to = scratch.join("to");
    let read = transplant(&from, &to);
    assert_eq!(read.skipped, 1);
    assert!(read.notes[0].contains("socket\" is a socket"), "{:?}", read.notes);
    fs::remove_file(scratch.join("outside")).unwrap();
    assert_eq!(told(&from), told(&to));
    let [one, z] = ["a/one", "z"].map(|name| fs::metadata(to.join(name)).unwrap());
    assert_eq!((one.ino(), one.mode() & 0o7777), (z.ino(), 0o4751));
    let copied = fs::metadata(to.join("sparse")).unwrap();
    assert_eq!(copied.len(), 1 << 34);
    assert!(copied.blocks() * 512 <= 64 * 1024, "{} blocks", copied.blocks());
    assert!(!to.join("socket").exists());
    assert_eq!(fs::read_link(to.join("a/out")).unwrap(), Path::new("/etc/passwd"));
}

#[test]
fn a_change_is_another_tree() {
    let scratch = Scratch::new();
    let root = scratch.join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("file"), vec![7; 200_000]).unwrap();
    let before = told(&root);
    assert_eq!(before.len(), 3 + 4, "top, file, four pieces, up");
    let file = fs::OpenOptions::new().write(true).open(root.join("file")).unwrap();
    file.write_all_at(&[8], 199_999).unwrap();
    assert_ne!(told(&root), before);
}

#[test]
fn nothing_is_made_outside_and_nothing_out_of_order() {
    let scratch = Scratch::new();
    let attributes = || FileAttributes {
        mode: 0o700,
        user: fs::metadata(scratch.path()).unwrap().uid(),
        group: fs::metadata(scratch.path()).unwrap().gid(),
        ..FileAttributes::default()
    };
    let file = |name: &'static [u8]| TreeRecord::File {
        name,
        size: 3,
        has_links: false,
        attributes: attributes(),
    };
    let top = || TreeRecord::Top(attributes());
    for (number, records) in [
        vec![top(), file(b"..")],
        vec![top(), file(b"../x")],
        vec![top(), file(b"/tmp/convocate-never")],
        vec![top(), TreeRecord::Up, file(b"late")],
        vec![file(b"early")],
        vec![top(), top()],
        vec![top(), TreeRecord::Up, TreeRecord::Up],
        vec![top(), file(b"a"), file(b"a")],
        vec![top(), TreeRecord::Data { offset: 0, bytes: b"x" }],
        vec![top(), file(b"a"), TreeRecord::Data { offset: 1, bytes: b"xyz" }],
        vec![top(), file(b"a"), TreeRecord::Data { offset: u64::MAX, bytes: b"x" }],
        vec![top(), file(b"a"), TreeRecord::Link { name: b"b", to: 0 }],
        // A link is no directory that something could be put into.
        vec![
            top(),
            TreeRecord::Symlink { name: b"d", target: b"/tmp", attributes: attributes() },
            TreeRecord::Directory { name: b"d", attributes: attributes() },
        ],
        vec![
            top(),
            TreeRecord::Symlink {
                name: b"f",
                target: b"/tmp/convocate-never",
                attributes: attributes(),
            },
            file(b"f"),
        ],
    ]
    .into_iter()
    .enumerate()
    {
        let mut writer = TreeWriter::new(&scratch.join(format!("root-{number}"))).unwrap();
        let written = records.into_iter().try_for_each(|record| writer.write(record));
        assert!(written.is_err(), "number {number}");
    }
    assert!(!Path::new("/tmp/convocate-never").exists());
    let writer = TreeWriter::new(&scratch.join("never")).unwrap();
    assert!(writer.finish().is_err());
}
