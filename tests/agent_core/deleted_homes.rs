//! Homes of deleted sessions: erased when nobody waits, one by one, however often it takes.

use convocate::agent::config::{Config, RuntimeKind};
use convocate::agent::work::{DiskWork, Done, RuntimeWork, Work, WorkError};
use convocate::base::uuid::Uuid;
use convocate::limits::REMAINS_RETRY;
use serde_json::Value;

use crate::host::{Host, config};

const EMPTY: fn(&Work) -> bool =
    |work| matches!(work, Work::Runtime(RuntimeWork::EraseAsRoot { .. }));
const ERASE: fn(&Work) -> bool = |work| matches!(work, Work::Disk(DiskWork::Erase { .. }));

/// A session whose deletion was answered, and whose home is still there.
fn deleted(host: &mut Host, name: &str) -> Uuid {
    let id = host.create(name);
    let delete = host.op("delete", id);
    host.steps(3);
    assert_eq!(host.answer(delete), Ok(Value::Null));
    assert!(host.remains.contains(&id) && host.homes.is_empty());
    id
}

fn refused() -> WorkError {
    WorkError::Disk("cannot remove x: permission denied".to_owned())
}

#[test]
fn a_deletion_is_answered_before_the_home_is_erased() {
    let mut host = Host::new();
    deleted(&mut host, "a");
    assert!(host.locks.is_empty());
    host.settle();
    assert!(host.remains.is_empty() && host.warnings.is_empty());
}

#[test]
fn homes_are_erased_one_by_one() {
    let mut host = Host::new();
    let ids = ["a", "b", "c"].map(|name| host.create(name));
    for id in ids {
        host.op("delete", id);
    }
    // All of it but the first erasing.
    let (first, work) = loop {
        let erasing = host.work.iter().filter(|(_, work)| ERASE(work)).count();
        assert!(erasing <= 1, "{:?}", host.work);
        if host.work.len() == erasing {
            break host.take(ERASE);
        }
        host.work.rotate_left(usize::from(ERASE(&host.work[0].1)));
        host.step();
    };
    assert_eq!(host.remains.len(), 3);
    let outcome = host.perform(&work);
    host.report(first, outcome);
    host.settle();
    assert!(host.remains.is_empty());
}

#[test]
fn what_only_root_may_remove_is_emptied_by_the_runtime() {
    let mut host = Host::new();
    let id = deleted(&mut host, "a");
    host.fail(refused());
    let (empty, work) = host.take(EMPTY);
    let image = "convocate:1".to_owned();
    assert_eq!(work, Work::Runtime(RuntimeWork::EraseAsRoot { id, image }));
    assert!(host.work.is_empty());
    host.report(empty, Ok(Done::Done));
    host.settle();
    assert!(host.remains.is_empty() && host.warnings.is_empty());
}

#[test]
fn what_is_left_is_told_and_tried_again_later() {
    let failures: [&[Option<WorkError>]; 2] = [
        &[Some(refused()), Some(WorkError::DockerGone("no socket".to_owned()))],
        &[Some(refused()), None, Some(refused())],
    ];
    for (round, failures) in failures.into_iter().enumerate() {
        let mut host = Host::new();
        let id = deleted(&mut host, "a");
        for failure in failures {
            match failure {
                Some(error) => host.fail(error.clone()),
                None => drop(host.step()),
            }
        }
        let [warning] = &host.warnings[..] else { panic!("{round}: {:?}", host.warnings) };
        assert!(warning.contains(&id.to_string()), "{warning}");
        assert!(warning.contains("permission denied"), "{warning}");
        host.wait(REMAINS_RETRY / 2);
        assert!(host.work.iter().all(|(_, work)| !ERASE(work)), "{:?}", host.work);
        assert!(host.agent.deadline().is_some());
        host.wait(REMAINS_RETRY);
        host.settle();
        assert!(host.remains.is_empty() && host.agent.deadline().is_none(), "{round}");
    }
}

#[test]
fn a_successor_goes_on_where_an_agent_was_killed() {
    let mut host = Host::new();
    deleted(&mut host, "a");
    host.crash();
    host.settle();
    assert!(host.remains.is_empty());
}

#[test]
fn without_containers_nobody_is_root() {
    let mut host = Host::with(Config { runtime: RuntimeKind::Host, ..config() });
    deleted(&mut host, "a");
    host.fail(refused());
    assert!(host.work.is_empty(), "{:?}", host.work);
    assert_eq!(host.warnings.len(), 1);
}
