//! KEXINIT and what follows from two of them (RFC 4253 §7.1).
//!
//! Both ends compute the outcome from the same two messages, so our own is read back like the
//! peer's and one function serves both roles.

use std::fmt;

use super::cipher::CipherName;
use super::config::Role;
use super::config::Tuning;
use super::kex::KexName;
use super::names::{
    EXT_INFO_CLIENT, EXT_INFO_SERVER, HMAC_SHA2_256_ETM, HMAC_SHA2_512_ETM, KEX_STRICT_CLIENT,
    KEX_STRICT_SERVER, NONE, SSH_ED25519, SSH_MSG_KEXINIT,
};
use super::wire::{NameList, Reader, WireError, put_boolean, put_name_list, put_u32};

/// Never used, both ciphers authenticate by themselves; some peers want a common name.
const MACS: [&str; 2] = [HMAC_SHA2_256_ETM, HMAC_SHA2_512_ETM];

/// A KEXINIT, read. Cookie, languages and the reserved field mean nothing to us.
#[derive(Debug)]
struct Proposal<'a> {
    kex: NameList<'a>,
    host_key: NameList<'a>,
    cipher_to_server: NameList<'a>,
    cipher_to_client: NameList<'a>,
    compression_to_server: NameList<'a>,
    compression_to_client: NameList<'a>,
    /// `first_kex_packet_follows`
    follows: bool,
}

/// What the two ends do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    pub kex: KexName,
    /// From client to server.
    pub cipher_to_server: CipherName,
    /// From server to client.
    pub cipher_to_client: CipherName,
    /// Both asked for the strict exchange. Means something in the first exchange only.
    pub strict: bool,
    /// The client takes EXT_INFO. Means something in the first exchange only.
    pub ext_info: bool,
    /// The peer has sent a public value for another method, which must be skipped.
    pub guess_missed: bool,
}

/// Why two KEXINITs do not go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NegotiationError {
    /// The peer's message is malformed.
    Wire(WireError),
    /// Nothing that both have.
    NothingInCommon {
        what: &'static str,
        /// What the peer offers, cut to a readable length.
        offered: String,
    },
}

impl fmt::Display for NegotiationError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NegotiationError::Wire(error) => write!(out, "kexinit: {error}"),
            NegotiationError::NothingInCommon { what, offered } => {
                write!(out, "no {what} in common, peer offers {offered:?}")
            }
        }
    }
}

impl std::error::Error for NegotiationError {}

impl From<WireError> for NegotiationError {
    fn from(error: WireError) -> NegotiationError {
        NegotiationError::Wire(error)
    }
}

/// Our KEXINIT. The markers that are no methods belong into the first one only.
pub(crate) fn write(role: Role, first: bool, tuning: &Tuning, cookie: [u8; 16]) -> Vec<u8> {
    let mut kex: Vec<&str> = tuning.kex.iter().map(|kex| kex.name()).collect();
    match (first, role) {
        (true, Role::Client) => kex.extend([EXT_INFO_CLIENT, KEX_STRICT_CLIENT]),
        (true, Role::Server) => kex.extend([EXT_INFO_SERVER, KEX_STRICT_SERVER]),
        (false, _) => {}
    }
    let ciphers = tuning.ciphers().map(CipherName::name);
    let mut out = vec![SSH_MSG_KEXINIT];
    out.extend_from_slice(&cookie);
    put_name_list(&mut out, &kex);
    put_name_list(&mut out, &[SSH_ED25519]);
    for list in [&ciphers[..], &ciphers, &MACS, &MACS, &[NONE], &[NONE], &[], &[]] {
        put_name_list(&mut out, list);
    }
    put_boolean(&mut out, false);
    put_u32(&mut out, 0);
    out
}

/// What follows from our message and the peer's. `role` is ours.
pub fn agree(role: Role, ours: &[u8], theirs: &[u8]) -> Result<Agreed, NegotiationError> {
    let (ours, theirs) = (parse(ours)?, parse(theirs)?);
    let (client, server) = match role {
        Role::Client => (&ours, &theirs),
        Role::Server => (&theirs, &ours),
    };
    let nothing = |what: &'static str, list: &NameList<'_>| {
        let mut offered = list.iter().collect::<Vec<_>>().join(",");
        offered.truncate(200); // names are ASCII
        NegotiationError::NothingInCommon { what, offered }
    };
    let kex = common(&client.kex, &server.kex, KexName::from_name)
        .ok_or_else(|| nothing("key exchange method", &theirs.kex))?;
    common(&client.host_key, &server.host_key, |name| (name == SSH_ED25519).then_some(()))
        .ok_or_else(|| nothing("host key algorithm", &theirs.host_key))?;
    let cipher_to_server =
        common(&client.cipher_to_server, &server.cipher_to_server, CipherName::from_name)
            .ok_or_else(|| nothing("cipher", &theirs.cipher_to_server))?;
    let cipher_to_client =
        common(&client.cipher_to_client, &server.cipher_to_client, CipherName::from_name)
            .ok_or_else(|| nothing("cipher", &theirs.cipher_to_client))?;
    for (ours, theirs) in [
        (&client.compression_to_server, &server.compression_to_server),
        (&client.compression_to_client, &server.compression_to_client),
    ] {
        common(ours, theirs, |name| (name == NONE).then_some(()))
            .ok_or_else(|| nothing("compression", theirs))?;
    }
    let guess_right = client.kex.first() == server.kex.first()
        && client.host_key.first() == server.host_key.first();
    Ok(Agreed {
        kex,
        cipher_to_server,
        cipher_to_client,
        strict: client.kex.contains(KEX_STRICT_CLIENT) && server.kex.contains(KEX_STRICT_SERVER),
        ext_info: client.kex.contains(EXT_INFO_CLIENT),
        guess_missed: theirs.follows && !guess_right,
    })
}

/// The client's first name that the server has too and that we know.
fn common<T>(
    client: &NameList<'_>,
    server: &NameList<'_>,
    known: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    client.iter().filter(|name| server.contains(name)).find_map(known)
}

fn parse(payload: &[u8]) -> Result<Proposal<'_>, WireError> {
    let mut reader = Reader::new(payload);
    reader.array::<17>()?; // the message number and the cookie
    let (kex, host_key) = (reader.name_list()?, reader.name_list()?);
    let (cipher_to_server, cipher_to_client) = (reader.name_list()?, reader.name_list()?);
    let (_macs_to_server, _macs_to_client) = (reader.name_list()?, reader.name_list()?);
    let (compression_to_server, compression_to_client) = (reader.name_list()?, reader.name_list()?);
    let (_languages_to_server, _languages_to_client) = (reader.name_list()?, reader.name_list()?);
    let follows = reader.boolean()?;
    // Reserved for future extension: what an extension puts there is not an error.
    reader.u32()?;
    reader.finish()?;
    Ok(Proposal {
        kex,
        host_key,
        cipher_to_server,
        cipher_to_client,
        compression_to_server,
        compression_to_client,
        follows,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::names::{AES256_GCM, CHACHA20_POLY1305};

    /// A KEXINIT with these lists and everything else as a plain peer has it.
    fn kexinit(kex: &str, host_key: &str, cipher: &str, compression: &str, follows: u8) -> Vec<u8> {
        let mut out = vec![SSH_MSG_KEXINIT; 17];
        for list in [kex, host_key, cipher, cipher, "", "", compression, compression, "", ""] {
            put_u32(&mut out, u32::try_from(list.len()).unwrap());
            out.extend_from_slice(list.as_bytes());
        }
        out.push(follows);
        out.extend_from_slice(&[0, 0, 0, 1]); // a reserved field that is not zero
        out
    }

    fn ours(role: Role) -> Vec<u8> {
        write(role, true, &Tuning { prefer_aes: true, ..Tuning::default() }, [0; 16])
    }

    #[test]
    fn our_own_two_ends_agree_on_the_first_of_everything() {
        let (client, server) = (ours(Role::Client), ours(Role::Server));
        let agreed = agree(Role::Client, &client, &server).unwrap();
        assert_eq!(agree(Role::Server, &server, &client), Ok(agreed));
        assert_eq!(
            agreed,
            Agreed {
                kex: KexName::MlKem768X25519,
                cipher_to_server: CipherName::Aes256Gcm,
                cipher_to_client: CipherName::Aes256Gcm,
                strict: true,
                ext_info: true,
                guess_missed: false,
            }
        );
    }

    #[test]
    fn a_guess_counts_as_right_only_if_both_first_names_are_equal() {
        let server = ours(Role::Server);
        let best = "mlkem768x25519-sha256,curve25519-sha256";
        for (kex, host_key, follows, missed) in [
            (best, "ssh-ed25519", 1, false),
            ("curve25519-sha256", "ssh-ed25519", 1, true),
            ("curve25519-sha256", "ssh-ed25519", 0, false),
            (best, "rsa-sha2-256,ssh-ed25519", 1, true),
        ] {
            let client = kexinit(kex, host_key, AES256_GCM, "none", follows);
            let agreed = agree(Role::Server, &server, &client).unwrap();
            assert_eq!(agreed.guess_missed, missed, "{kex} {host_key} {follows}");
            assert!(!agreed.strict && !agreed.ext_info);
        }
    }

    #[test]
    fn the_clients_order_decides_and_repeats_change_nothing() {
        let server = ours(Role::Server);
        let kex = "x,curve25519-sha256,curve25519-sha256,mlkem768x25519-sha256";
        let ciphers = [CHACHA20_POLY1305, AES256_GCM].join(",");
        let client = kexinit(kex, "ssh-ed25519", &ciphers, "zlib,none", 0);
        let agreed = agree(Role::Server, &server, &client).unwrap();
        assert_eq!(agreed.kex, KexName::Curve25519);
        assert_eq!(agreed.cipher_to_client, CipherName::ChaCha20Poly1305);
    }

    #[test]
    fn no_mac_is_named_that_an_audit_warns_of() {
        assert!(MACS.iter().all(|mac| mac.ends_with("-etm@openssh.com")));
    }

    #[test]
    fn markers_are_no_methods_and_nothing_in_common_says_of_what() {
        let server = ours(Role::Server);
        let curve = "curve25519-sha256";
        for (kex, host_key, cipher, compression, missing) in [
            ("ext-info-s,kex-strict-s-v00@openssh.com", SSH_ED25519, AES256_GCM, NONE, "key e"),
            ("", SSH_ED25519, AES256_GCM, NONE, "key e"),
            (curve, "ssh-rsa", AES256_GCM, NONE, "host key a"),
            (curve, SSH_ED25519, "aes128-ctr", NONE, "cipher"),
            (curve, SSH_ED25519, AES256_GCM, "zlib", "compression"),
        ] {
            let client = kexinit(kex, host_key, cipher, compression, 0);
            match agree(Role::Server, &server, &client) {
                Err(NegotiationError::NothingInCommon { what, .. }) => {
                    assert!(what.starts_with(missing), "{what}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn malformed_messages_are_refused_at_every_cut_and_never_panic() {
        let (client, server) = (ours(Role::Client), ours(Role::Server));
        for cut in 0..client.len() {
            assert!(agree(Role::Server, &server, &client[..cut]).is_err(), "{cut}");
        }
        for index in 0..client.len() {
            for value in [0, 1, b',', 0x7f, 0x80, 0xff] {
                let mut client = client.clone();
                client[index] = value;
                let _either_is_fine = agree(Role::Server, &server, &client);
            }
        }
        let empty_name = kexinit("curve25519-sha256,", SSH_ED25519, AES256_GCM, NONE, 0);
        assert_eq!(
            agree(Role::Server, &server, &empty_name),
            Err(NegotiationError::Wire(WireError::NameEmpty))
        );
        let trailing = [client.as_slice(), &[0]].concat();
        assert!(agree(Role::Server, &server, &trailing).is_err());
    }
}
