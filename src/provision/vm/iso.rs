//! A disk with a few small files in one directory, as ECMA-119 (ISO 9660) has it: what cloud-init's
//! source NoCloud reads.
//!
//! Built in memory, because a private key is on it. File names are in upper case there, and Linux
//! shows them in lower.

use zeroize::Zeroizing;

/// One sector (ECMA-119 §6.1.2).
const SECTOR: usize = 2048;
/// Sectors before the first descriptor, which are not for us (§6.2.1).
const SYSTEM_SECTORS: usize = 16;
/// Where what stands, in sectors.
const PATHS_LITTLE: usize = SYSTEM_SECTORS + 2;
const PATHS_BIG: usize = PATHS_LITTLE + 1;
const ROOT: usize = PATHS_BIG + 1;
const FILES: usize = ROOT + 1;
/// The path table has one entry, for the root (§9.4).
const PATHS_BYTES: usize = 10;
/// A directory record that names itself or its parent (§9.1).
const RECORD_BYTES: usize = 34;
/// A directory, and no file (§9.1.6).
const IS_DIRECTORY: u8 = 2;

/// A disk of this name with these files.
///
/// # Panics
/// If the names do not fit into one sector: they are ours, and few.
pub(crate) fn image(volume: &str, files: &[(&str, &[u8])]) -> Zeroizing<Vec<u8>> {
    let sectors = |bytes: usize| bytes.div_ceil(SECTOR).max(1);
    let total = FILES + files.iter().map(|(_, bytes)| sectors(bytes.len())).sum::<usize>();
    let mut disk = Zeroizing::new(vec![0; total * SECTOR]);
    let mut place = |sector: usize, bytes: &[u8]| {
        disk[sector * SECTOR..][..bytes.len()].copy_from_slice(bytes);
    };
    place(SYSTEM_SECTORS, &descriptor(volume, total));
    place(SYSTEM_SECTORS + 1, b"\xffCD001\x01");
    place(PATHS_LITTLE, &path_table(u32::to_le_bytes, u16::to_le_bytes));
    place(PATHS_BIG, &path_table(u32::to_be_bytes, u16::to_be_bytes));
    let mut root = record(b"\0", ROOT, SECTOR, IS_DIRECTORY);
    root.extend(record(b"\x01", ROOT, SECTOR, IS_DIRECTORY));
    let mut next = FILES;
    for (name, bytes) in files {
        let name = format!("{};1", name.to_ascii_uppercase());
        root.extend(record(name.as_bytes(), next, bytes.len(), 0));
        place(next, bytes);
        next += sectors(bytes.len());
    }
    assert!(root.len() <= SECTOR, "the names of a few files fit into a sector");
    place(ROOT, &root);
    disk
}

/// The primary volume descriptor (§8.4).
fn descriptor(volume: &str, sectors: usize) -> Vec<u8> {
    let mut bytes = b"\x01CD001\x01\0".to_vec();
    let text = |bytes: &mut Vec<u8>, text: &str, width: usize| {
        bytes.extend(text.bytes().chain(std::iter::repeat(b' ')).take(width));
    };
    text(&mut bytes, "", 32);
    text(&mut bytes, volume, 32);
    bytes.extend([0; 8]);
    bytes.extend(both_u32(sectors));
    bytes.extend([0; 32]);
    // One volume, the first of its set, in sectors of this size.
    [1, 1, SECTOR].into_iter().for_each(|number| bytes.extend(both_u16(number)));
    bytes.extend(both_u32(PATHS_BYTES));
    bytes.extend(narrow(PATHS_LITTLE).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(narrow(PATHS_BIG).to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(record(b"\0", ROOT, SECTOR, IS_DIRECTORY));
    // Set, publisher, preparer, application; then the names of three files.
    text(&mut bytes, "", 4 * 128 + 3 * 37);
    // Four times without a date, each with a zone.
    (0..4).for_each(|_| bytes.extend(b"0000000000000000\0"));
    bytes.extend([1, 0]);
    bytes
}

/// The path table in one order of bytes: the root, its own parent (§9.4).
fn path_table(long: fn(u32) -> [u8; 4], short: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let mut bytes = vec![1, 0];
    bytes.extend(long(narrow(ROOT)));
    bytes.extend(short(1));
    bytes.extend([0, 0]);
    bytes
}

/// A directory record (§9.1).
fn record(name: &[u8], sector: usize, bytes: usize, flags: u8) -> Vec<u8> {
    let padding = usize::from(name.len().is_multiple_of(2));
    let length = RECORD_BYTES - 1 + name.len() + padding;
    let mut record = vec![u8::try_from(length).expect("names are short"), 0];
    record.extend(both_u32(sector));
    record.extend(both_u32(bytes));
    // 1970-01-01: a file of the same content makes the same disk.
    record.extend([70, 1, 1, 0, 0, 0, 0]);
    record.extend([flags, 0, 0]);
    record.extend(both_u16(1));
    record.push(u8::try_from(name.len()).expect("names are short"));
    record.extend(name);
    record.resize(length, 0);
    record
}

/// A number in both orders of bytes (§7.3.3).
fn both_u32(number: usize) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&narrow(number).to_le_bytes());
    bytes[4..].copy_from_slice(&narrow(number).to_be_bytes());
    bytes
}

/// A short number in both orders of bytes (§7.2.3).
fn both_u16(number: usize) -> [u8; 4] {
    let [low, high] = u16::try_from(number).expect("it is a constant").to_le_bytes();
    [low, high, high, low]
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).expect("the disk is small")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads it back by what the descriptor and the records say.
    fn read(disk: &[u8], wanted: &[u8]) -> Option<Vec<u8>> {
        let number = |at: usize| {
            let little = u32::from_le_bytes(disk[at..at + 4].try_into().unwrap());
            let big = u32::from_be_bytes(disk[at + 4..at + 8].try_into().unwrap());
            assert_eq!(little, big, "at {at}");
            little as usize
        };
        let descriptor = SYSTEM_SECTORS * SECTOR;
        assert_eq!(&disk[descriptor..descriptor + 7], b"\x01CD001\x01");
        assert_eq!(number(descriptor + 80) * SECTOR, disk.len());
        let root = number(descriptor + 156 + 2) * SECTOR;
        let mut at = root;
        while disk[at] != 0 {
            let name = &disk[at + 33..][..usize::from(disk[at + 32])];
            assert_eq!(disk[at] % 2, 0, "records stand at even places");
            if name == wanted {
                return Some(disk[number(at + 2) * SECTOR..][..number(at + 10)].to_vec());
            }
            at += usize::from(disk[at]);
        }
        None
    }

    #[test]
    fn what_was_put_there_is_read_back() {
        let long = vec![7; 3 * SECTOR];
        let files: [(&str, &[u8]); 4] =
            [("meta-data", b"m"), ("user-data", &long), ("empty", b""), ("last", b"end")];
        let disk = image("cidata", &files);
        for (name, bytes) in files {
            let name = format!("{};1", name.to_uppercase());
            assert_eq!(read(&disk, name.as_bytes()).as_deref(), Some(bytes), "{name}");
        }
        assert_eq!(read(&disk, b"OTHER;1"), None);
        let descriptor = &disk[SYSTEM_SECTORS * SECTOR..][..SECTOR];
        assert_eq!(&descriptor[40..48], b"cidata  ");
        assert_eq!((descriptor[881], &descriptor[813..830]), (1, &b"0000000000000000\0"[..]));
    }
}
