//! The two ciphers of the profile, each an AEAD over one whole packet, in place.
//!
//! A packet on the wire is `length (4) | sealed: padding length, payload, padding | tag (16)`. A
//! [`Sealer`] turns the plain form into that, an [`Opener`] turns it back, and neither allocates,
//! looks inside, or knows what a length may be: the caller bounds it, and only after
//! [`Opener::open`] has agreed is anything in a packet true.
//!
//! Neither cipher survives a nonce that serves twice under one key: for ChaCha20 two packets then
//! share their key stream and Poly1305 its one-time key, for GCM the key of the tag leaks. No nonce
//! is sent. ChaCha20's is the packet's sequence number (RFC 4253 §6.4), which wraps after 2^32
//! packets, so a rekey comes long before; a strict exchange may reset it to zero, for the key is a
//! new one then. AES-GCM starts from a derived IV of 4 fixed and 8 counting bytes and counts by
//! itself (RFC 5647 §7.1). One key serves one direction until the next NEWKEYS, and is wiped when
//! it is dropped. Sources: RFC 5647 with OpenSSH PROTOCOL §1.6, PROTOCOL.chacha20poly1305.
//!
//! The work is done in the crate `packet-aead`: built for speed, where this one is built for size.

use std::fmt;

use packet_aead::Parts;
pub use packet_aead::{LENGTH_BYTES, TAG_BYTES, TagMismatch};

use super::names;

/// A cipher as it is negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CipherName {
    /// `aes256-gcm@openssh.com`
    Aes256Gcm,
    /// `chacha20-poly1305@openssh.com`
    ChaCha20Poly1305,
}

impl CipherName {
    /// The cipher of this name.
    pub(crate) fn from_name(name: &str) -> Option<CipherName> {
        [CipherName::Aes256Gcm, CipherName::ChaCha20Poly1305]
            .into_iter()
            .find(|cipher| cipher.name() == name)
    }

    /// Its name in a KEXINIT.
    pub fn name(self) -> &'static str {
        match self {
            CipherName::Aes256Gcm => names::AES256_GCM,
            CipherName::ChaCha20Poly1305 => names::CHACHA20_POLY1305,
        }
    }

    /// Bytes of key to derive.
    pub fn key_bytes(self) -> usize {
        match self {
            CipherName::Aes256Gcm => packet_aead::GCM_KEY_BYTES,
            CipherName::ChaCha20Poly1305 => packet_aead::CHACHA_KEY_BYTES,
        }
    }

    /// Bytes of initial vector to derive.
    pub fn iv_bytes(self) -> usize {
        match self {
            CipherName::Aes256Gcm => packet_aead::GCM_IV_BYTES,
            CipherName::ChaCha20Poly1305 => 0,
        }
    }

    /// What the sealed part of a packet, without its length field, is a multiple of.
    pub fn block_bytes(self) -> usize {
        match self {
            CipherName::Aes256Gcm => 16,
            CipherName::ChaCha20Poly1305 => 8,
        }
    }
}

/// One direction's key, on the side that sends.
pub struct Sealer {
    cipher: Cipher,
}

impl Sealer {
    /// A sealer before its first packet.
    ///
    /// # Panics
    /// When `key` and `iv` are not exactly [`CipherName::key_bytes`] and [`CipherName::iv_bytes`].
    pub fn new(name: CipherName, key: &[u8], iv: &[u8]) -> Sealer {
        Sealer { cipher: Cipher::new(name, key, iv) }
    }

    /// Which cipher this is.
    pub fn name(&self) -> CipherName {
        self.cipher.name()
    }

    /// Seals `packet`, which is `length | padding length, payload, padding | room for the tag`, as
    /// the packet with this sequence number.
    ///
    /// # Panics
    /// When `packet` has no room for a length and a tag.
    pub fn seal(&mut self, sequence: u32, packet: &mut [u8]) {
        let parts = Parts::of(packet).expect("a packet is built with its length and its tag");
        match &mut self.cipher {
            Cipher::Aes256Gcm(gcm) => gcm.seal(parts),
            Cipher::ChaCha20Poly1305(chacha) => chacha.seal(sequence, parts),
        }
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Sealer({})", self.name().name())
    }
}

/// One direction's key, on the side that receives.
pub struct Opener {
    cipher: Cipher,
}

impl Opener {
    /// An opener before its first packet.
    ///
    /// # Panics
    /// When `key` and `iv` are not exactly [`CipherName::key_bytes`] and [`CipherName::iv_bytes`].
    pub fn new(name: CipherName, key: &[u8], iv: &[u8]) -> Opener {
        Opener { cipher: Cipher::new(name, key, iv) }
    }

    /// Which cipher this is.
    pub(crate) fn name(&self) -> CipherName {
        self.cipher.name()
    }

    /// What the length field of the packet with this sequence number says: bytes between it and the
    /// tag. It is not authenticated, so it is no more than a hint how much to wait for.
    pub fn length(&self, sequence: u32, head: [u8; LENGTH_BYTES]) -> u32 {
        match &self.cipher {
            Cipher::Aes256Gcm(_) => u32::from_be_bytes(head),
            Cipher::ChaCha20Poly1305(chacha) => chacha.length(sequence, head),
        }
    }

    /// Opens `packet`, a whole one from its length field to its tag. Then what lies between them is
    /// plain; the length field stays as it came. On a mismatch nothing is decrypted, and the key is
    /// of no further use: the connection ends.
    pub fn open(&mut self, sequence: u32, packet: &mut [u8]) -> Result<(), TagMismatch> {
        let parts = Parts::of(packet).ok_or(TagMismatch)?;
        match &mut self.cipher {
            Cipher::Aes256Gcm(gcm) => gcm.open(parts),
            Cipher::ChaCha20Poly1305(chacha) => chacha.open(sequence, parts),
        }
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Opener({})", self.name().name())
    }
}

/// Whether AES and the field of GCM have instructions here; without them ChaCha20 is faster, and
/// AES takes its time to stay free of tables.
pub(crate) fn aes_is_fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    let fast = std::is_x86_feature_detected!("aes") && std::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    let fast = std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let fast = false;
    fast
}

/// The key of either cipher. That of AES is a kilobyte of schedule, hence in a box.
enum Cipher {
    Aes256Gcm(Box<packet_aead::Gcm>),
    ChaCha20Poly1305(packet_aead::ChaCha),
}

impl Cipher {
    fn new(name: CipherName, key: &[u8], iv: &[u8]) -> Cipher {
        const LENGTHS: &str = "keys are derived with the lengths that the cipher names";
        match name {
            CipherName::Aes256Gcm => Cipher::Aes256Gcm(Box::new(packet_aead::Gcm::new(
                key.try_into().expect(LENGTHS),
                iv.try_into().expect(LENGTHS),
            ))),
            CipherName::ChaCha20Poly1305 => {
                assert!(iv.is_empty(), "{LENGTHS}");
                Cipher::ChaCha20Poly1305(packet_aead::ChaCha::new(key.try_into().expect(LENGTHS)))
            }
        }
    }

    fn name(&self) -> CipherName {
        match self {
            Cipher::Aes256Gcm(_) => CipherName::Aes256Gcm,
            Cipher::ChaCha20Poly1305(_) => CipherName::ChaCha20Poly1305,
        }
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::base::hex;

    const CIPHERS: [CipherName; 2] = [CipherName::Aes256Gcm, CipherName::ChaCha20Poly1305];
    /// Its counter wraps with the third packet.
    const IV: &str = "a0a1a2a3fffffffffffffffe";

    fn material(name: CipherName) -> (Vec<u8>, Vec<u8>) {
        let key = (0..64).take(name.key_bytes()).collect();
        (key, hex::bytes(&IV[..2 * name.iv_bytes()]))
    }

    fn sealer(name: CipherName) -> Sealer {
        let (key, iv) = material(name);
        Sealer::new(name, &key, &iv)
    }

    fn opener(name: CipherName) -> Opener {
        let (key, iv) = material(name);
        Opener::new(name, &key, &iv)
    }

    /// A packet with `bytes` between its length and its tag, ready to be sealed.
    fn plain(bytes: u32) -> Vec<u8> {
        let mut packet = bytes.to_be_bytes().to_vec();
        packet.extend((0..bytes).map(|index| (index * 7 + bytes).to_le_bytes()[0]));
        packet.extend([0; TAG_BYTES]);
        packet
    }

    fn sealed(sealer: &mut Sealer, sequence: u32, bytes: u32) -> Vec<u8> {
        let mut packet = plain(bytes);
        sealer.seal(sequence, &mut packet);
        packet
    }

    /// Computed with OpenSSL, by way of Python's `cryptography`.
    #[test]
    fn chacha_seals_as_another_library_does() {
        let mut sealer = sealer(CipherName::ChaCha20Poly1305);
        for (sequence, wire) in [
            (3, "fb1a929a9052029e1e799e30c000aa57df8ce43affcb8ea31c4ddc27f5b585427ef78574"),
            (
                u32::MAX - 1,
                "69a614d8276d42b9f217b67aaab212b31a724576cf89ee25781a777d890b12a654568637",
            ),
        ] {
            assert_eq!(hex::text(&sealed(&mut sealer, sequence, 16)), wire);
        }
        for (bytes, sha256) in [
            (8, "32697442cf7faf161fffb92185108cb0abc37df23fd1c8d94ed1ad65a615e19e"),
            (24, "c24ef62345126ae15e54c3ba4462ece8143a5446715ed7726c479aa5e0e1bdd1"),
            (64, "7835450d1d2475505d24a4bc64b7c71a983e8731bd9593f2651a6b5dc8763431"),
            (192, "b2d3d3716bd35250fcdf3dfc92337445220f0cdc515eb54e5f05bef5f3b96f2b"),
            (256, "dd4d35ad9b86591bd5f586f19ad30d717754df2e2a532dd1825f91d5943a6594"),
            (1000, "7e2696b1374b0af8321de1be1d6774e49882685e7e71cd7d125a64c18a39234e"),
            (32776, "de88ea7b16de80250e608d74256e214f4355d7881b0975116ce81012b0b174fd"),
        ] {
            let packet = sealed(&mut sealer, 0x8000_0001, bytes);
            assert_eq!(hex::text(&Sha256::digest(&packet)), sha256, "{bytes} bytes");
        }
    }

    /// The same source; each packet has the next nonce, and the third has wrapped.
    #[test]
    fn gcm_seals_as_another_library_does() {
        let mut counting = sealer(CipherName::Aes256Gcm);
        for wire in [
            "00000010f4071236714ba853955ea80c5f1204b110cb0b79fb60a8c4875b7611ce98492f",
            "00000010b4a8dc6ad01c496c521145014f76a8032651e08d123c79b0b821147a888d9f1e",
            "000000100cae42130f578ffdf174ed6e35b117a2dabba53ce0b510fddc99a632ac3465a8",
        ] {
            assert_eq!(hex::text(&sealed(&mut counting, 77, 16)), wire);
        }
        let mut growing = sealer(CipherName::Aes256Gcm);
        for (bytes, sha256) in [
            (16, "093d7a36541e96e5b961074f2945af2363fd4393822ade78bb21b30b409f40d2"),
            (32, "1f061c28b02b8b2b59af193bd8dcc36e8e4941c7dfa40c84b85b878a1dc9f811"),
            (64, "2e1192972d320372a2eb60c9e60fee2fac46bdf3b93b8f34e960e6aa9716d328"),
            (192, "959200a8ba43114f8b01dea292b86ff83b88a6b9a1cfbf263957e9b46b2f033e"),
            (256, "778f6482cb667690e1e8074646984c9e2ccbfde30455a05d0bab7a2dbae28bd5"),
            (1008, "25bd88760d42826b18316b49bbd885d356752c5615b8ce76c1e509f6046117c0"),
            (32784, "95ddd1a5705580e6436cf3d7463fe610e8aca5d54ec3e4983af2a9cbeb85c6c2"),
        ] {
            let packet = sealed(&mut growing, 0, bytes);
            assert_eq!(hex::text(&Sha256::digest(&packet)), sha256, "{bytes} bytes");
        }
    }

    #[test]
    fn what_was_sealed_opens_packet_after_packet() {
        for name in CIPHERS {
            let (mut sealer, mut opener) = (sealer(name), opener(name));
            let lengths = [16, 0, 48, 32784].into_iter().cycle();
            for (sequence, bytes) in (u32::MAX - 2..=u32::MAX).chain(0..3).zip(lengths) {
                let mut packet = sealed(&mut sealer, sequence, bytes);
                let head = *packet.first_chunk().unwrap();
                assert_eq!(opener.length(sequence, head), bytes, "{name:?}");
                assert_eq!(opener.open(sequence, &mut packet), Ok(()), "{name:?}");
                let end = packet.len() - TAG_BYTES;
                assert_eq!(packet[4..end], plain(bytes)[4..end], "{name:?}");
            }
        }
    }

    #[test]
    fn each_flipped_bit_is_a_mismatch_and_nothing_is_decrypted() {
        for name in CIPHERS {
            let good = sealed(&mut sealer(name), 5, 32);
            for bit in 0..8 * good.len() {
                let mut packet = good.clone();
                packet[bit / 8] ^= 1 << (bit % 8);
                let sent = packet.clone();
                assert_eq!(opener(name).open(5, &mut packet), Err(TagMismatch), "{name:?} {bit}");
                assert_eq!(packet, sent, "{name:?} {bit}");
            }
        }
    }

    #[test]
    fn a_packet_cut_or_extended_is_a_mismatch() {
        for name in CIPHERS {
            let mut good = sealed(&mut sealer(name), 5, 32);
            for cut in 0..good.len() {
                let mut packet = good[..cut].to_vec();
                assert_eq!(opener(name).open(5, &mut packet), Err(TagMismatch), "{name:?} {cut}");
            }
            good.push(0);
            assert_eq!(opener(name).open(5, &mut good), Err(TagMismatch), "{name:?}");
        }
    }

    #[test]
    fn a_packet_opens_only_in_its_place() {
        let name = CipherName::ChaCha20Poly1305;
        let mut packet = sealed(&mut sealer(name), 5, 32);
        assert_eq!(opener(name).open(6, &mut packet), Err(TagMismatch));
        assert_eq!(opener(name).open(5, &mut packet), Ok(()));

        let name = CipherName::Aes256Gcm;
        let mut sealer = sealer(name);
        let _lost = sealed(&mut sealer, 5, 32);
        let mut packet = sealed(&mut sealer, 6, 32);
        assert_eq!(opener(name).open(6, &mut packet), Err(TagMismatch));
    }

    #[test]
    fn another_key_opens_nothing() {
        for name in CIPHERS {
            let good = sealed(&mut sealer(name), 5, 32);
            let (key, iv) = material(name);
            // The second half of the longer key serves the length field alone.
            for index in 0..32 {
                let mut other = key.clone();
                other[index] ^= 0x10;
                let mut opener = Opener::new(name, &other, &iv);
                assert_eq!(opener.open(5, &mut good.clone()), Err(TagMismatch), "{name:?} {index}");
            }
        }
    }

    #[test]
    fn names_lead_to_their_ciphers() {
        for name in CIPHERS {
            assert_eq!(CipherName::from_name(name.name()), Some(name));
        }
        assert_eq!(CipherName::from_name("aes256-gcm"), None);
        assert_eq!(CipherName::from_name("none"), None);
    }

    #[test]
    fn debug_names_the_cipher_and_nothing_else() {
        assert_eq!(
            format!("{:?}", sealer(CipherName::Aes256Gcm)),
            "Sealer(aes256-gcm@openssh.com)"
        );
        assert_eq!(
            format!("{:?}", opener(CipherName::ChaCha20Poly1305)),
            "Opener(chacha20-poly1305@openssh.com)"
        );
    }
}
