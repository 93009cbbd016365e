//! `chacha20-poly1305@openssh.com`: two keys, the second for the length field alone.
//!
//! Not the AEAD of RFC 8439: the cipher is Bernstein's original with a nonce of 64 bits, the
//! sequence number; the one-time key of Poly1305 is the start of block 0, the data begin with block
//! 1, and the tag covers the encrypted length and the encrypted data with nothing in between
//! (OpenSSH PROTOCOL.chacha20poly1305).

use chacha20::cipher::StreamCipherCore;
use chacha20::cipher::array::Array;
use chacha20::{ChaCha20LegacyCore, KeyIvInit};
use poly1305::universal_hash::{KeyInit, UniversalHash};
use poly1305::{Block, Poly1305};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{LENGTH_BYTES, Parts, TAG_BYTES, TagMismatch};

/// Both keys of ChaCha20.
pub const KEY_BYTES: usize = 64;
/// A block of the key stream.
const BLOCK_BYTES: usize = 64;
/// The blocks that are made together, even where one would do: with vectors of 32 bytes four take
/// the time of one, with vectors of 64 bytes a fifth of it. Besides, the whole of a short packet is
/// there.
const FIRST_BYTES: usize = 4 * BLOCK_BYTES;

pub struct ChaCha {
    /// K_2 of the document: for the data and the tag.
    main: Zeroizing<[u8; 32]>,
    /// K_1 of the document: for the length field.
    header: Zeroizing<[u8; 32]>,
}

impl ChaCha {
    pub fn new(key: &[u8; KEY_BYTES]) -> ChaCha {
        let mut keys = ChaCha { main: Zeroizing::default(), header: Zeroizing::default() };
        keys.main.copy_from_slice(&key[..32]);
        keys.header.copy_from_slice(&key[32..]);
        keys
    }

    pub fn seal(&self, sequence: u32, parts: Parts<'_>) {
        let (head, body) = parts.sealed.split_at_mut(LENGTH_BYTES);
        Stream::new(&self.header, sequence).apply(0, head);
        let main = Stream::new(&self.main, sequence);
        let mac = main.mac();
        main.apply(BLOCK_BYTES, body);
        *parts.tag = tag(mac, parts.sealed);
    }

    pub fn length(&self, sequence: u32, mut head: [u8; LENGTH_BYTES]) -> u32 {
        Stream::new(&self.header, sequence).apply(0, &mut head);
        u32::from_be_bytes(head)
    }

    /// The comparison of the tags takes the same time wherever they differ, and comes first.
    pub fn open(&self, sequence: u32, parts: Parts<'_>) -> Result<(), TagMismatch> {
        let main = Stream::new(&self.main, sequence);
        if !bool::from(tag(main.mac(), parts.sealed).ct_eq(parts.tag)) {
            return Err(TagMismatch);
        }
        main.apply(BLOCK_BYTES, &mut parts.sealed[LENGTH_BYTES..]);
        Ok(())
    }
}

/// The key stream of one packet under one of the keys. What it leaves in memory is good for this
/// packet alone; the state that holds the key wipes itself.
struct Stream {
    first: [u8; FIRST_BYTES],
    /// The stream from the first block behind `first`.
    rest: ChaCha20LegacyCore,
}

impl Stream {
    fn new(key: &[u8; 32], sequence: u32) -> Stream {
        let nonce = u64::from(sequence).to_be_bytes();
        let mut rest = ChaCha20LegacyCore::new(key.into(), &nonce.into());
        let mut first = [0; FIRST_BYTES];
        rest.write_keystream_blocks(Array::slice_as_chunks_mut(&mut first).0);
        Stream { first, rest }
    }

    /// The authenticator of this packet: its key is the start of block 0.
    fn mac(&self) -> Poly1305 {
        let key = self.first.first_chunk::<32>().expect("a block is longer than the key");
        Poly1305::new(key.into())
    }

    /// Encrypts or decrypts `data` with the stream from byte `skip` of its first blocks.
    fn apply(self, skip: usize, data: &mut [u8]) {
        let stream = &self.first[skip..];
        let (start, behind) = data.split_at_mut(stream.len().min(data.len()));
        start.iter_mut().zip(stream).for_each(|(byte, key)| *byte ^= key);
        self.rest.apply_keystream_partial(behind.into());
    }
}

/// The tag: whole blocks go through the wide path, the tail is not padded to one.
fn tag(mut mac: Poly1305, sealed: &[u8]) -> [u8; TAG_BYTES] {
    let (blocks, tail) = Block::slice_as_chunks(sealed);
    mac.update(blocks);
    mac.compute_unpadded(tail).into()
}
