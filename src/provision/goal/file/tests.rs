//! Files, directories and absent paths, judged.

use super::*;
use crate::base::time::Wall;
use crate::provision::goal::testing::{file as found, seen};
use crate::provision::order::Account;

const MARK: &str = "# Written by convocate";

fn account(user: &str) -> Account {
    Account { user: user.into(), group: "root".into() }
}

fn judged(content: Content, answer: Answer) -> StepVerdict {
    let access = Access { owner: Some(account("root")), mode: 0o644 };
    File { path: "/etc/x".into(), content, access }.judge(&[answer])
}

fn text(text: &str) -> Content {
    Content::Text { text: text.into(), mark: MARK }
}

fn change(verdict: StepVerdict) -> Change {
    match verdict {
        StepVerdict::Differs(change) => change,
        other => panic!("{other:?}"),
    }
}

fn written(change: &Change) -> String {
    match change.actions.last() {
        Some(Action::Write { bytes, .. }) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn content_owner_and_mode_are_each_compared() {
    let ours = "# Written by convocate\nx\n";
    assert_eq!(judged(text(ours), found(ours, 0o644)), StepVerdict::Holds);
    let moded = change(judged(text(ours), found(ours, 0o600)));
    assert_eq!(moded.effects, ["mode 0600 → 0644"]);
    assert!(matches!(moded.actions[..], [Action::SetAccess { .. }]));
    let older = ours.replace('x', "y");
    let rewritten = change(judged(text(ours), found(&older, 0o600)));
    assert_eq!(rewritten.effects, ["rewrite /etc/x", "mode 0600 → 0644"]);
    assert_eq!(rewritten.diff, [" # Written by convocate", "-y", "+x"]);
    assert_eq!((rewritten.actions.len(), written(&rewritten).as_str()), (1, ours));
}

#[test]
fn what_somebody_else_wrote_is_kept() {
    let ours = "# Written by convocate\nx\n";
    let replaced = change(judged(text(ours), found("theirs\n", 0o600)));
    assert_eq!(replaced.effects[0], "keep what was there, which is not ours, as /etc/x.dpkg-old");
    let Action::Write { path, bytes, access } = &replaced.actions[0] else { panic!() };
    assert_eq!(
        (path.as_path(), bytes.as_slice()),
        (Path::new("/etc/x.dpkg-old"), &b"theirs\n"[..])
    );
    assert_eq!(access.mode, 0o600);
    assert_eq!(written(&replaced), ours);
    assert_eq!(change(judged(text(ours), found("", 0o644))).actions.len(), 1);
}

#[test]
fn what_is_made_once_is_kept_and_never_shown() {
    let once = || Content::Once {
        bytes: Zeroizing::new(b"new secret".to_vec()),
        check: |found| match found.starts_with(b"good") {
            true => Ok(()),
            false => Err("is no key".to_owned()),
        },
    };
    assert_eq!(judged(once(), found("good and old", 0o644)), StepVerdict::Holds);
    assert_eq!(
        judged(once(), found("bad", 0o644)),
        StepVerdict::refuse("/etc/x is no key", "move /etc/x away if it is not needed")
    );
    let made = change(judged(once(), Answer::Looked(Entry::Missing)));
    assert_eq!((written(&made).as_str(), made.diff.len()), ("new secret", 0));
    assert!(!format!("{made:?}{:?}", once()).contains("secret"));
}

#[test]
fn a_secret_is_replaced_and_not_shown() {
    let secret = || Content::Secret(Zeroizing::new(b"hush".to_vec()));
    assert_eq!(judged(secret(), found("hush", 0o644)), StepVerdict::Holds);
    for other in [found("old hush", 0o644), Answer::Looked(Entry::Missing)] {
        let made = change(judged(secret(), other));
        assert_eq!((written(&made).as_str(), made.diff.len()), ("hush", 0));
        assert!(!format!("{made:?}{:?}", secret()).contains("hush"));
    }
}

#[test]
fn a_line_joins_those_of_others() {
    let line = |prefix: Option<&str>| Content::Line {
        line: "id=1 new".into(),
        instead_of: prefix.map(|text| Others::Beginning(text.to_owned())),
    };
    let lines = |found_text: &str, prefix| match judged(line(prefix), found(found_text, 0o644)) {
        StepVerdict::Holds => None,
        verdict => Some(written(&change(verdict))),
    };
    assert_eq!(lines("a\nid=1 new\n", None), None);
    assert_eq!(lines("a\nid=1 old", None).unwrap(), "a\nid=1 old\nid=1 new\n");
    assert_eq!(lines("id=1 old\nid=12 x\nb\n", Some("id=1 ")).unwrap(), "id=12 x\nb\nid=1 new\n");
    assert_eq!(lines("id=1 new\nid=1 old\n", Some("id=1 ")).unwrap(), "id=1 new\n");
    assert_eq!(lines("id=1 new\n", Some("id=1 ")), None);
    let instead_of = Some(Others::Ending(" a shell".to_owned()));
    let content = Content::Line { line: "new a shell".into(), instead_of };
    let made = change(judged(content, found("old a shell\nold a shell of others\n", 0o644)));
    assert_eq!(written(&made), "old a shell of others\nnew a shell\n");
}

#[test]
fn a_link_or_a_directory_in_the_way_is_refused() {
    for (entry, sentence) in [
        (Entry::Other("a symbolic link"), "/etc/x is a symbolic link"),
        (Entry::Directory(seen(0, Wall::default())), "/etc/x is a directory"),
    ] {
        let refused = StepVerdict::refuse(sentence, "move /etc/x away");
        assert_eq!(judged(text("x"), Answer::Looked(entry)), refused);
    }
}

#[test]
fn a_directory_and_an_absence() {
    let directory = Directory {
        path: "/d".into(),
        access: Access { owner: Some(account("claude")), mode: 0o750 },
    };
    let seen = seen(0o755, Wall::default());
    let changed = change(directory.judge(&[Answer::Looked(Entry::Directory(seen))]));
    assert_eq!(changed.effects, ["owner root:root → claude:root", "mode 0755 → 0750"]);
    let made = change(directory.judge(&[Answer::Looked(Entry::Missing)]));
    assert_eq!(made.effects, ["create /d (claude:root 0750)"]);
    let absent = Absent("/etc/x".into());
    assert_eq!(absent.judge(&[Answer::Looked(Entry::Missing)]), StepVerdict::Holds);
    assert_eq!(
        change(absent.judge(&[found("x", 0o644)])).actions,
        [Action::Remove("/etc/x".into())]
    );
}
