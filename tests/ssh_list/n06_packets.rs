//! Number 6: Packets: length 0, 1, huge, not a multiple of the block, padding under 4 or over the
//! packet. Nothing is allocated from a length that is not yet authenticated and bounded.

use convocate::base::endpoint::Endpoint;
use convocate::limits;
use convocate::ssh::admit::AdmitState;
use convocate::ssh::packet::PacketError;
use convocate::ssh::{Error, Role, names};

use crate::raw::{Raw, data_message};

const ROLES: [Role; 2] = [Role::Client, Role::Server];

#[test]
fn lengths_out_of_range_end_it_before_anything_is_allocated() {
    for role in ROLES {
        for state in [AdmitState::FirstKexInit, AdmitState::Auth, AdmitState::Open] {
            for length in [0, 1, 15, 17, 35_000, 1 << 20, 1 << 31, u32::MAX] {
                let mut raw = Raw::at(role, state);
                let before = raw.conn.allocated();
                let packet = raw.packet_with(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 4, Some(length));
                raw.raw(&packet);
                let wrong = matches!(
                    raw.error(),
                    Some(Error::Packet(PacketError::Length { got, .. })) if got == length
                );
                assert!(wrong, "{role:?} {state:?} {length}: {:?}", raw.error());
                assert!(raw.conn.allocated() <= before + 4096);
            }
        }
    }
}

#[test]
fn padding_out_of_range_ends_it() {
    for role in ROLES {
        for (payload, padding) in [(&[2, 0, 0, 0, 0, 0, 0, 0][..], 3), (&[], 11), (&[], 27)] {
            let mut raw = Raw::at(role, AdmitState::FirstKexInit);
            let packet = raw.packet_with(payload, padding, None);
            raw.raw(&packet);
            let got = padding;
            assert!(matches!(
                raw.error(),
                Some(Error::Packet(PacketError::Padding { got: found, .. })) if found == got
            ));
        }
        let mut raw = Raw::at(role, AdmitState::Open);
        let mut body = [0; 15];
        body[0] = 2;
        let mut packet = raw.packet_with(&body[..12], 3, None);
        raw.raw(&packet);
        assert!(matches!(raw.error(), Some(Error::Packet(PacketError::Padding { got: 3, .. }))));
        packet.clear();
    }
}

#[test]
fn a_stranger_has_a_budget_of_bytes_and_packets() {
    for role in ROLES {
        let mut raw = Raw::at(role, AdmitState::Auth);
        let mut packets = 0;
        while raw.error().is_none() {
            raw.put(&[2, 0, 0, 0, 0]);
            packets += 1;
        }
        assert_eq!(raw.error(), Some(Error::PreauthBudget));
        assert!(packets < limits::SSH_PREAUTH_PACKETS_MAX);

        let mut raw = Raw::at(role, AdmitState::Auth);
        let mut ignore = vec![2];
        ignore.resize(7000, 0);
        let mut bytes = 0;
        while raw.error().is_none() {
            raw.put(&ignore);
            bytes += ignore.len() as u64;
        }
        assert_eq!(raw.error(), Some(Error::PreauthBudget));
        assert!(bytes <= limits::SSH_PREAUTH_BYTES_MAX + 7000);
        assert!(raw.conn.allocated() <= 40 * 1024, "{}", raw.conn.allocated());
    }
}

#[test]
fn the_largest_packet_is_taken() {
    let mut raw = Raw::at(Role::Server, AdmitState::Open);
    let theirs = raw.open_subsystem("rpc");
    raw.put(&data_message(theirs, &vec![7; limits::SSH_CHANNEL_DATA_BYTES_MAX as usize]));
    assert_eq!(raw.error(), None);
    let mut ignore = vec![names::SSH_MSG_IGNORE];
    ignore.resize(34_900, 0);
    raw.put(&ignore);
    assert_eq!(raw.error(), None);
    assert!(!raw.conn.is_finished());
}
