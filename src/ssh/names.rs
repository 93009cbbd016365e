//! Every number and every name of the protocol that this transport speaks, each with its source.
//!
//! The index file: nothing else in the transport spells a message number or an algorithm's name.
//! It holds no logic. Sections of RFCs 4250 to 4254 unless another document is named.

// --- messages: the transport layer (RFC 4253 §12) ---

/// RFC 4253 §11.1
pub const SSH_MSG_DISCONNECT: u8 = 1;
/// RFC 4253 §11.2
pub const SSH_MSG_IGNORE: u8 = 2;
/// RFC 4253 §11.4
pub const SSH_MSG_UNIMPLEMENTED: u8 = 3;
/// RFC 4253 §11.3
pub const SSH_MSG_DEBUG: u8 = 4;
/// RFC 4253 §10
pub const SSH_MSG_SERVICE_REQUEST: u8 = 5;
/// RFC 4253 §10
pub const SSH_MSG_SERVICE_ACCEPT: u8 = 6;
/// RFC 8308 §2.3
pub const SSH_MSG_EXT_INFO: u8 = 7;
/// RFC 4253 §7.1
pub const SSH_MSG_KEXINIT: u8 = 20;
/// RFC 4253 §7.3
pub const SSH_MSG_NEWKEYS: u8 = 21;
/// RFC 5656 §7.1; the hybrid exchange calls it `SSH_MSG_KEX_HYBRID_INIT`.
pub const SSH_MSG_KEX_ECDH_INIT: u8 = 30;
/// RFC 5656 §7.1; the hybrid exchange calls it `SSH_MSG_KEX_HYBRID_REPLY`.
pub const SSH_MSG_KEX_ECDH_REPLY: u8 = 31;

// --- messages: authentication (RFC 4252 §6, §7) ---

/// RFC 4252 §5
pub const SSH_MSG_USERAUTH_REQUEST: u8 = 50;
/// RFC 4252 §5.1
pub const SSH_MSG_USERAUTH_FAILURE: u8 = 51;
/// RFC 4252 §5.1
pub const SSH_MSG_USERAUTH_SUCCESS: u8 = 52;
/// RFC 4252 §5.4
pub const SSH_MSG_USERAUTH_BANNER: u8 = 53;
/// RFC 4252 §7
pub const SSH_MSG_USERAUTH_PK_OK: u8 = 60;

// --- messages: connection (RFC 4254 §9) ---

/// The first number that only an authenticated peer may send (RFC 4250 §4.1.2).
pub const SSH_MSG_CONNECTION_FIRST: u8 = 80;
/// RFC 4254 §4
pub const SSH_MSG_GLOBAL_REQUEST: u8 = 80;
/// RFC 4254 §4
pub const SSH_MSG_REQUEST_SUCCESS: u8 = 81;
/// RFC 4254 §4
pub const SSH_MSG_REQUEST_FAILURE: u8 = 82;
/// RFC 4254 §5.1
pub const SSH_MSG_CHANNEL_OPEN: u8 = 90;
/// RFC 4254 §5.1
pub const SSH_MSG_CHANNEL_OPEN_CONFIRMATION: u8 = 91;
/// RFC 4254 §5.1
pub const SSH_MSG_CHANNEL_OPEN_FAILURE: u8 = 92;
/// RFC 4254 §5.2
pub const SSH_MSG_CHANNEL_WINDOW_ADJUST: u8 = 93;
/// RFC 4254 §5.2
pub const SSH_MSG_CHANNEL_DATA: u8 = 94;
/// RFC 4254 §5.2
pub const SSH_MSG_CHANNEL_EXTENDED_DATA: u8 = 95;
/// RFC 4254 §5.3
pub const SSH_MSG_CHANNEL_EOF: u8 = 96;
/// RFC 4254 §5.3
pub const SSH_MSG_CHANNEL_CLOSE: u8 = 97;
/// RFC 4254 §5.4
pub const SSH_MSG_CHANNEL_REQUEST: u8 = 98;
/// RFC 4254 §5.4
pub const SSH_MSG_CHANNEL_SUCCESS: u8 = 99;
/// RFC 4254 §5.4
pub const SSH_MSG_CHANNEL_FAILURE: u8 = 100;

// --- messages of ssh-agent (draft-ietf-sshm-ssh-agent §6.1) ---

/// §3.1
pub(crate) const SSH_AGENT_FAILURE: u8 = 5;
/// §3.5
pub(crate) const SSH_AGENTC_REQUEST_IDENTITIES: u8 = 11;
/// §3.5
pub(crate) const SSH_AGENT_IDENTITIES_ANSWER: u8 = 12;
/// §3.6
pub(crate) const SSH_AGENTC_SIGN_REQUEST: u8 = 13;
/// §3.6
pub(crate) const SSH_AGENT_SIGN_RESPONSE: u8 = 14;

// --- reasons of a disconnect (RFC 4253 §11.1, RFC 4250 §4.2.2) ---

/// A message that the state, the format or a limit does not admit.
pub const SSH_DISCONNECT_PROTOCOL_ERROR: u32 = 2;
/// Nothing in common, a bad public value, a bad signature of the host.
pub const SSH_DISCONNECT_KEY_EXCHANGE_FAILED: u32 = 3;
/// A tag that does not match: with AEAD ciphers the tag is the MAC.
pub const SSH_DISCONNECT_MAC_ERROR: u32 = 5;
/// A service other than authentication and connection.
pub const SSH_DISCONNECT_SERVICE_NOT_AVAILABLE: u32 = 7;
/// The host key is not the pinned one.
pub const SSH_DISCONNECT_HOST_KEY_NOT_VERIFIABLE: u32 = 9;
/// The peer stopped answering.
pub const SSH_DISCONNECT_CONNECTION_LOST: u32 = 10;
pub const SSH_DISCONNECT_BY_APPLICATION: u32 = 11;
/// The place of one that did not log in went to a newcomer.
pub const SSH_DISCONNECT_TOO_MANY_CONNECTIONS: u32 = 12;
/// Attempts are used up, or the client has no method left.
pub const SSH_DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE: u32 = 14;

// --- reasons why a channel is not opened (RFC 4254 §5.1) ---

/// Not now and not here.
pub const SSH_OPEN_ADMINISTRATIVELY_PROHIBITED: u32 = 1;
/// Anything but `session`.
pub const SSH_OPEN_UNKNOWN_CHANNEL_TYPE: u32 = 3;
/// The table of channels is full.
pub const SSH_OPEN_RESOURCE_SHORTAGE: u32 = 4;

// --- key exchange methods ---

/// draft-ietf-sshm-mlkem-hybrid-kex §2.3.1
pub const MLKEM768X25519_SHA256: &str = "mlkem768x25519-sha256";
/// RFC 8731 §3
pub const CURVE25519_SHA256: &str = "curve25519-sha256";
/// The name of the same method before RFC 8731 (§1); paramiko knows only this one.
pub const CURVE25519_SHA256_LIBSSH: &str = "curve25519-sha256@libssh.org";
/// A client that does strict key exchange (OpenSSH PROTOCOL §1.10).
pub const KEX_STRICT_CLIENT: &str = "kex-strict-c-v00@openssh.com";
/// A server that does strict key exchange (OpenSSH PROTOCOL §1.10).
pub const KEX_STRICT_SERVER: &str = "kex-strict-s-v00@openssh.com";
/// A client that takes `SSH_MSG_EXT_INFO` (RFC 8308 §2.1).
pub const EXT_INFO_CLIENT: &str = "ext-info-c";
/// A server that takes `SSH_MSG_EXT_INFO` (RFC 8308 §2.1).
pub const EXT_INFO_SERVER: &str = "ext-info-s";

// --- the rest of a KEXINIT ---

/// RFC 8709 §4, §6: keys, and the signatures that they make.
pub const SSH_ED25519: &str = "ssh-ed25519";
/// OpenSSH PROTOCOL §1.6: AES in GCM as RFC 5647 has it, negotiated as a cipher alone.
pub const AES256_GCM: &str = "aes256-gcm@openssh.com";
/// OpenSSH PROTOCOL.chacha20poly1305
pub const CHACHA20_POLY1305: &str = "chacha20-poly1305@openssh.com";
/// OpenSSH PROTOCOL §1.1; offered for peers that want a common name, never used.
pub const HMAC_SHA2_256_ETM: &str = "hmac-sha2-256-etm@openssh.com";
/// OpenSSH PROTOCOL §1.1; offered for peers that want a common name, never used.
pub const HMAC_SHA2_512_ETM: &str = "hmac-sha2-512-etm@openssh.com";
/// RFC 4253 §6.2: no compression. Also the authentication method of RFC 4252 §5.2.
pub const NONE: &str = "none";

// --- extensions (RFC 8308 §3) ---

/// RFC 8308 §3.1
pub const SERVER_SIG_ALGS: &str = "server-sig-algs";

// --- services and authentication ---

/// RFC 4252 §4
pub const SSH_USERAUTH: &str = "ssh-userauth";
/// RFC 4254 §1
pub const SSH_CONNECTION: &str = "ssh-connection";
/// RFC 4252 §7
pub const PUBLICKEY: &str = "publickey";

/// OpenSSH PROTOCOL §3.1: a `publickey` whose signature is for one host key.
pub(crate) const PUBLICKEY_HOSTBOUND: &str = "publickey-hostbound-v00@openssh.com";

// --- signatures of files (OpenSSH PROTOCOL.sshsig) ---

/// What every text begins with that is signed.
pub(crate) const SSHSIG: &[u8] = b"SSHSIG";
/// The namespace of git's commits and tags.
pub(crate) const SSHSIG_GIT: &str = "git";
/// Hashes of what is signed, and their bytes.
pub(crate) const SSHSIG_HASHES: [(&str, usize); 2] = [("sha256", 32), ("sha512", 64)];

// --- channels and requests ---

/// RFC 4254 §6.1
pub const SESSION: &str = "session";
/// RFC 4254 §6.5
pub const SUBSYSTEM: &str = "subsystem";
/// RFC 4254 §6.7
pub const WINDOW_CHANGE: &str = "window-change";
/// RFC 4254 §6.10
pub const EXIT_STATUS: &str = "exit-status";
/// OpenSSH's own; any answer will do, a failure is the usual one.
pub const KEEPALIVE: &str = "keepalive@openssh.com";
