//! Private key files of OpenSSH (its PROTOCOL.key), without a passphrase.
//!
//! Between two lines of dashes stands Base64 of: a magic string, the cipher, the key derivation and
//! its options, the number of keys, the public key's blob, and the private part, which is padded to
//! eight bytes and begins with a number twice (after decryption, that showed a wrong passphrase).
//! Every buffer here that holds the secret is wiped and never grows.

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use super::{KeyError, KeyPair, PublicKey};
use crate::limits::SSH_KEY_FILE_BYTES_MAX;
use crate::ssh::names::{NONE, SSH_ED25519};
use crate::ssh::wire::{Reader, put_string, put_u32};

const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";
const MAGIC: &[u8] = b"openssh-key-v1\0";
/// Characters in a line of Base64, as `ssh-keygen` writes it.
const LINE_CHARS: usize = 70;
/// The block of the cipher `none`.
const BLOCK_BYTES: usize = 8;
/// Room for all of a file but its comment, before Base64.
const FILE_BYTES: usize = 320;

/// The key of a file. Its comment is skipped.
pub(super) fn parse(file: &[u8]) -> Result<KeyPair, KeyError> {
    if file.len() > SSH_KEY_FILE_BYTES_MAX {
        return Err(KeyError::Long { bytes: file.len(), max: SSH_KEY_FILE_BYTES_MAX });
    }
    let body = file.trim_ascii().strip_prefix(BEGIN.as_bytes());
    let body = body.and_then(|body| body.strip_suffix(END.as_bytes()));
    let body = body.ok_or(KeyError::NotPrivateKey)?;
    let mut base64 = Zeroizing::new(Vec::with_capacity(body.len()));
    base64.extend(body.iter().filter(|byte| !matches!(byte, b'\n' | b'\r')));
    parse_binary(Base64::decode_in_place(&mut base64).map_err(|_| KeyError::Base64)?)
}

fn parse_binary(file: &[u8]) -> Result<KeyPair, KeyError> {
    let mut file = Reader::new(file.strip_prefix(MAGIC).ok_or(KeyError::NotPrivateKey)?);
    let (cipher, derivation) = (file.string()?, file.string()?);
    if cipher != NONE.as_bytes() || derivation != NONE.as_bytes() {
        return Err(KeyError::Encrypted);
    }
    Reader::new(file.string()?).finish()?; // options of no derivation
    match file.u32()? {
        1 => {}
        keys => return Err(KeyError::Count(keys)),
    }
    let public = PublicKey::from_blob(file.string()?)?;
    let private = file.string()?;
    file.finish()?;
    parse_private(private, &public)
}

/// The private part. The public half stands in it twice more, and must be that of the seed.
fn parse_private(private: &[u8], public: &PublicKey) -> Result<KeyPair, KeyError> {
    let mut reader = Reader::new(private);
    if reader.u32()? != reader.u32()? {
        return Err(KeyError::Check);
    }
    let algorithm = reader.string()?;
    if algorithm != SSH_ED25519.as_bytes() {
        return Err(KeyError::algorithm(algorithm));
    }
    let second = reader.string()?;
    let halves = reader.string()?;
    let length = KeyError::Length { got: halves.len(), expected: 64 };
    let (seed, third) = halves.split_first_chunk().ok_or(length)?;
    let pair = KeyPair::try_from_seed(*seed)?;
    if [second, third, public.as_bytes()].iter().any(|half| *half != pair.public.as_bytes()) {
        return Err(KeyError::Halves);
    }
    let _comment = reader.string()?;
    check_padding(reader.rest(), private.len())?;
    Ok(pair)
}

/// At most a block of 1, 2, 3 and so on, up to a whole number of blocks. OpenSSH never writes the
/// whole block that Python's `cryptography` does.
fn check_padding(padding: &[u8], private_bytes: usize) -> Result<(), KeyError> {
    let counts = padding.iter().zip(1..).all(|(byte, count)| *byte == count);
    let fits = padding.len() <= BLOCK_BYTES && private_bytes.is_multiple_of(BLOCK_BYTES);
    if counts && fits { Ok(()) } else { Err(KeyError::Padding) }
}

/// The file of `pair`.
pub(super) fn print(pair: &KeyPair, comment: &str, check: u32) -> Zeroizing<String> {
    let file = print_binary(pair, comment, check);
    let mut base64 = Zeroizing::new(vec![0; Base64::encoded_len(&file)]);
    let base64 = Base64::encode(&file, &mut base64).expect("the buffer has the encoded length");
    let newlines = base64.len() / LINE_CHARS + 4;
    let chars = BEGIN.len() + base64.len() + END.len() + newlines;
    let mut text = Zeroizing::new(String::with_capacity(chars));
    text.push_str(BEGIN);
    for (index, char) in base64.char_indices() {
        if index.is_multiple_of(LINE_CHARS) {
            text.push('\n');
        }
        text.push(char);
    }
    for part in ["\n", END, "\n"] {
        text.push_str(part);
    }
    text
}

fn print_binary(pair: &KeyPair, comment: &str, check: u32) -> Zeroizing<Vec<u8>> {
    let private = print_private(pair, comment, check);
    let mut out = Zeroizing::new(Vec::with_capacity(FILE_BYTES + comment.len()));
    out.extend_from_slice(MAGIC);
    put_string(&mut out, NONE.as_bytes());
    put_string(&mut out, NONE.as_bytes());
    put_string(&mut out, &[]);
    put_u32(&mut out, 1);
    put_string(&mut out, &pair.public.blob());
    put_string(&mut out, &private);
    out
}

fn print_private(pair: &KeyPair, comment: &str, check: u32) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(FILE_BYTES + comment.len()));
    put_u32(&mut out, check);
    put_u32(&mut out, check);
    put_string(&mut out, SSH_ED25519.as_bytes());
    put_string(&mut out, pair.public.as_bytes());
    put_string(&mut out, &*pair.halves());
    put_string(&mut out, comment.as_bytes());
    let padding = out.len().next_multiple_of(BLOCK_BYTES) - out.len();
    out.extend((1..).take(padding));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> KeyPair {
        KeyPair::from_seed([7; 32])
    }

    fn text() -> String {
        print(&pair(), "someone@somewhere", 0x0102_0304).to_string()
    }

    /// The file of a private part that a test has damaged.
    fn file(private: &[u8]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for part in [NONE.as_bytes(), NONE.as_bytes(), &[]] {
            put_string(&mut out, part);
        }
        put_u32(&mut out, 1);
        put_string(&mut out, &pair().public.blob());
        put_string(&mut out, private);
        out
    }

    /// A private part of these values, padded as it should be.
    fn private(checks: [u32; 2], algorithm: &str, public: &[u8], halves: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        checks.iter().for_each(|check| put_u32(&mut out, *check));
        for part in [algorithm.as_bytes(), public, halves, b"comment"] {
            put_string(&mut out, part);
        }
        let padding = out.len().next_multiple_of(BLOCK_BYTES) - out.len();
        out.extend((1..).take(padding));
        out
    }

    #[test]
    fn what_is_printed_is_read_back_whatever_the_comment() {
        for chars in 0..100 {
            let text = print(&pair(), &"c".repeat(chars), 5);
            assert!(text.lines().all(|line| line.len() <= LINE_CHARS));
            assert!(text.lines().skip(1).all(|line| !line.is_empty()));
            assert_eq!(parse(text.as_bytes()).unwrap().halves(), pair().halves());
        }
    }

    #[test]
    fn no_buffer_of_a_secret_grows() {
        for chars in [0, 1, 7, 8, 1000] {
            let (pair, comment) = (pair(), "c".repeat(chars));
            assert!(print_private(&pair, &comment, 5).len() <= FILE_BYTES + chars);
            assert!(print_binary(&pair, &comment, 5).len() <= FILE_BYTES + chars);
            let text = print(&pair, &comment, 5);
            let base64 = Base64::encoded_len(&print_binary(&pair, &comment, 5));
            let room = BEGIN.len() + base64 + END.len() + base64 / LINE_CHARS + 4;
            assert!(text.len() <= room, "{} of {room}", text.len());
        }
    }

    #[test]
    fn newlines_of_either_kind_and_any_place_are_skipped() {
        let text = text();
        let crlf = text.replace('\n', "\r\n");
        let framed = format!("\n\n{text}\n\n");
        for text in [crlf, framed] {
            assert_eq!(parse(text.as_bytes()).unwrap().halves(), pair().halves());
        }
    }

    #[test]
    fn a_file_cut_at_any_length_is_refused() {
        let text = text();
        for cut in 0..text.len() - 1 {
            assert!(parse(&text.as_bytes()[..cut]).is_err(), "text cut at {cut}");
        }
        let file = print_binary(&pair(), "comment", 1);
        for cut in 0..file.len() {
            assert!(parse_binary(&file[..cut]).is_err(), "file cut at {cut}");
        }
    }

    /// Only the comment may change, or the length that makes it take the padding; and never is the
    /// key another one.
    #[test]
    fn each_changed_byte_is_refused_or_does_not_matter() {
        let good = print_binary(&pair(), "comment", 1);
        let end = good.len() - [1, 2, 3, 4, 5, 6].len();
        let comment = end - b"comment".len()..end;
        assert_eq!(&good[comment.clone()], b"comment");
        for index in 0..good.len() {
            for value in (0..=u8::MAX).filter(|value| *value != good[index]) {
                let mut file = good.to_vec();
                file[index] = value;
                let longer = index == comment.start - 1 && usize::from(value) == 7 + 6;
                match parse_binary(&file) {
                    Ok(key) => {
                        assert!(comment.contains(&index) || longer, "{index} {value}");
                        assert_eq!(key.halves(), pair().halves());
                    }
                    Err(_) => assert!(!comment.contains(&index) && !longer, "{index} {value}"),
                }
            }
        }
    }

    #[test]
    fn each_changed_character_never_panics_and_never_gives_another_key() {
        let good = text().into_bytes();
        for index in 0..good.len() {
            for value in [0, b'\n', b' ', b'-', b'=', b'A', b'z', 0x80, 0xff] {
                let mut text = good.clone();
                text[index] = value;
                if let Ok(key) = parse(&text) {
                    assert_eq!(key.halves(), pair().halves());
                }
            }
        }
    }

    #[test]
    fn damage_is_named() {
        let pair = pair();
        let (public, halves) = (pair.public.as_bytes(), &*pair.halves());
        let kind = SSH_ED25519;
        let other = KeyPair::from_seed([8; 32]);
        let mut wrong_half = *halves;
        wrong_half[32..].copy_from_slice(other.public.as_bytes());
        let mut zeros = [0; 64];
        zeros[32..].copy_from_slice(public);
        let mut unpadded = private([1, 1], kind, public, halves);
        *unpadded.last_mut().unwrap() ^= 1;
        let mut block = private([1, 1], kind, public, halves);
        block.push(0);
        for (private, error) in [
            (private([1, 2], kind, public, halves), KeyError::Check),
            (private([1, 1], "ssh-rsa", public, halves), KeyError::Algorithm("ssh-rsa".to_owned())),
            (private([1, 1], kind, other.public.as_bytes(), halves), KeyError::Halves),
            (private([1, 1], kind, public, &*other.halves()), KeyError::Halves),
            (private([1, 1], kind, public, &wrong_half), KeyError::Halves),
            (private([1, 1], kind, public, &halves[..63]), KeyError::Halves),
            (
                private([1, 1], kind, public, &halves[..31]),
                KeyError::Length { got: 31, expected: 64 },
            ),
            (private([1, 1], kind, public, &zeros), KeyError::SeedZero),
            (unpadded, KeyError::Padding),
            (block, KeyError::Padding),
        ] {
            assert_eq!(parse_binary(&file(&private)).unwrap_err(), error);
        }
        assert!(parse_binary(&file(&private([1, 1], kind, public, halves))).is_ok());
    }

    /// The largest padding that writers use, where OpenSSH itself would use none.
    #[test]
    fn a_whole_block_of_padding_is_read() {
        let print_private = |chars| print_private(&pair(), &"c".repeat(chars), 1).to_vec();
        let full = (0..8).map(print_private).find(|out| out.ends_with(b"c")).unwrap();
        let mut padded = full.clone();
        padded.extend(1..=8);
        assert!(parse_binary(&file(&padded)).is_ok());
        padded.extend(9..=16);
        assert_eq!(parse_binary(&file(&padded)).unwrap_err(), KeyError::Padding);
    }

    #[test]
    fn an_encrypted_key_says_what_to_do() {
        let mut out = MAGIC.to_vec();
        put_string(&mut out, b"aes256-ctr");
        put_string(&mut out, b"bcrypt");
        let error = parse_binary(&out).unwrap_err();
        assert_eq!(error, KeyError::Encrypted);
        assert!(error.to_string().contains("ssh-keygen -p -N ''"), "{error}");
    }

    #[test]
    fn what_is_no_key_file_is_refused() {
        let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw\n-----END PRIVATE KEY-----\n";
        let long = vec![b'A'; SSH_KEY_FILE_BYTES_MAX + 1];
        let (bytes, max) = (long.len(), SSH_KEY_FILE_BYTES_MAX);
        for (file, error) in [
            (&b""[..], KeyError::NotPrivateKey),
            (pem.as_bytes(), KeyError::NotPrivateKey),
            (BEGIN.as_bytes(), KeyError::NotPrivateKey),
            (format!("{BEGIN}\n{END}").as_bytes(), KeyError::NotPrivateKey),
            (format!("{BEGIN}\n!\n{END}").as_bytes(), KeyError::Base64),
            (&long, KeyError::Long { bytes, max }),
        ] {
            assert_eq!(parse(file).unwrap_err(), error);
        }
    }
}
