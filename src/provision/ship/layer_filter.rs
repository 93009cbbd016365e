//! An image's archive as it passes, without the layers that the other side has.
//!
//! Bytes go in as they come and what stays comes out, unchanged. Never held: more than one header
//! with its extended headers, or one layer's description. Failed stays failed.
//!
//! ```text
//! Head -> Extension -> Head
//!      -> Body -> Head
//!      -> End
//! ```

use super::layers::Layers;
use super::tar::{BLOCK_BYTES, Block, Extension, Header, Kind, TarFault};
use crate::limits::{SHIP_DESCRIPTION_BYTES_MAX, SHIP_ENTRIES_MAX, SHIP_EXTENSION_BYTES_MAX};

/// The archive that passes.
#[derive(Debug)]
pub(crate) struct LayerFilter {
    layers: Layers,
    state: State,
    /// Headers of the entry that comes, which go where it goes.
    held: Vec<u8>,
    /// What the extended headers among them said.
    extension: Extension,
    entries: usize,
    left_out: usize,
}

#[derive(Debug)]
enum State {
    /// In a header, so far of `held[from..]`.
    Head {
        from: usize,
    },
    /// In the data of an extended header, which begins at `held[from]`.
    Extension {
        kind: Kind,
        from: usize,
        size: usize,
        left: u64,
    },
    /// In the data of an entry.
    Body {
        fate: Fate,
        left: u64,
    },
    /// Behind the last entry.
    End,
    Failed(TarFault),
}

/// What becomes of an entry's data.
#[derive(Debug)]
enum Fate {
    Pass,
    LeaveOut,
    /// It passes, and is learned from: the directory, the size, what there is of it.
    Learn(String, usize, Vec<u8>),
}

impl LayerFilter {
    /// For an image with these layers.
    pub(crate) fn new(layers: Layers) -> LayerFilter {
        LayerFilter {
            layers,
            state: State::Head { from: 0 },
            held: Vec::new(),
            extension: Extension::default(),
            entries: 0,
            left_out: 0,
        }
    }

    /// Takes the next bytes, and appends to `out` what stays: at most as much, and what was held.
    ///
    /// # Errors
    /// [`TarFault`], from then on always.
    pub(crate) fn push(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), TarFault> {
        while !input.is_empty() {
            let state = std::mem::replace(&mut self.state, State::End);
            match self.step(state, input, out) {
                Ok((state, taken)) => {
                    self.state = state;
                    input = &input[taken..];
                }
                Err(fault) => {
                    self.state = State::Failed(fault);
                    return Err(fault);
                }
            }
        }
        Ok(())
    }

    /// No more comes.
    ///
    /// # Errors
    /// [`TarFault::Cut`], if that is too early.
    pub(crate) fn finish(&self) -> Result<(), TarFault> {
        match self.state {
            State::End => Ok(()),
            State::Failed(fault) => Err(fault),
            _ => Err(TarFault::Cut),
        }
    }

    /// How many layers were left out so far.
    pub(crate) fn left_out(&self) -> usize {
        self.left_out
    }

    fn step(
        &mut self,
        state: State,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(State, usize), TarFault> {
        match state {
            State::Head { from } => self.head(from, input, out),
            State::Extension { kind, from, size, left } => {
                let taken = shorter(left, input.len());
                self.held.extend_from_slice(&input[..taken]);
                let left = left - taken as u64;
                if left > 0 {
                    return Ok((State::Extension { kind, from, size, left }, taken));
                }
                let data = &self.held[from..from + size];
                match kind {
                    Kind::Extended => self.extension.read_pax(data)?,
                    Kind::LongName => self.extension.read_long_name(data)?,
                    Kind::File | Kind::LongLink | Kind::Other => {}
                }
                Ok((State::Head { from: self.held.len() }, taken))
            }
            State::Body { fate, left } => Ok(self.body(fate, left, input, out)),
            State::End => {
                out.extend_from_slice(input);
                Ok((State::End, input.len()))
            }
            State::Failed(fault) => Err(fault),
        }
    }

    fn head(
        &mut self,
        from: usize,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(State, usize), TarFault> {
        let taken = input.len().min(BLOCK_BYTES - (self.held.len() - from));
        self.held.extend_from_slice(&input[..taken]);
        let Ok(block) = <&Block>::try_from(&self.held[from..]) else {
            return Ok((State::Head { from }, taken));
        };
        let Some(header) = Header::parse(block)? else {
            out.append(&mut self.held);
            return Ok((State::End, taken));
        };
        self.entries += 1;
        if self.entries > SHIP_ENTRIES_MAX {
            return Err(TarFault::Entries);
        }
        let state = match header.kind {
            Kind::Extended | Kind::LongName | Kind::LongLink => self.extend(&header)?,
            Kind::File | Kind::Other => self.enter(&header, out),
        };
        Ok((state, taken))
    }

    fn extend(&self, header: &Header) -> Result<State, TarFault> {
        let size = usize::try_from(header.size).map_err(|_| TarFault::Extension)?;
        let from = self.held.len();
        if from + size > SHIP_EXTENSION_BYTES_MAX {
            return Err(TarFault::Extension);
        }
        Ok(match size {
            0 => State::Head { from },
            _ => State::Extension { kind: header.kind, from, size, left: padded(header.size) },
        })
    }

    /// Decides what becomes of the entry, whose headers are complete.
    fn enter(&mut self, header: &Header, out: &mut Vec<u8>) -> State {
        let Extension { name, size } = std::mem::take(&mut self.extension);
        let name = name.unwrap_or_else(|| header.name.clone());
        let size = size.filter(|_| header.kind == Kind::File).unwrap_or(header.size);
        let fate = match (header.kind, usize::try_from(size)) {
            (Kind::File, _) if self.layers.is_held(&name) => Fate::LeaveOut,
            (Kind::File, Ok(length)) if length <= SHIP_DESCRIPTION_BYTES_MAX => {
                match self.layers.described_by(&name) {
                    Some(directory) => Fate::Learn(directory, length, Vec::new()),
                    None => Fate::Pass,
                }
            }
            _ => Fate::Pass,
        };
        match fate {
            Fate::LeaveOut => {
                self.left_out += 1;
                self.held.clear();
            }
            Fate::Pass | Fate::Learn(..) => out.append(&mut self.held),
        }
        match size {
            0 => State::Head { from: 0 },
            _ => State::Body { fate, left: padded(size) },
        }
    }

    fn body(&mut self, fate: Fate, left: u64, input: &[u8], out: &mut Vec<u8>) -> (State, usize) {
        let taken = shorter(left, input.len());
        let left = left - taken as u64;
        let fate = match fate {
            Fate::LeaveOut => Fate::LeaveOut,
            Fate::Pass => {
                out.extend_from_slice(&input[..taken]);
                Fate::Pass
            }
            Fate::Learn(directory, length, mut content) => {
                out.extend_from_slice(&input[..taken]);
                let wanted = (length - content.len()).min(taken);
                content.extend_from_slice(&input[..wanted]);
                if left == 0 {
                    self.layers.learn(&directory, &content);
                }
                Fate::Learn(directory, length, content)
            }
        };
        match left {
            0 => (State::Head { from: 0 }, taken),
            _ => (State::Body { fate, left }, taken),
        }
    }
}

/// With what fills the last block. No number of an archive is near the end of the type.
fn padded(size: u64) -> u64 {
    size.next_multiple_of(BLOCK_BYTES as u64)
}

fn shorter(left: u64, available: usize) -> usize {
    usize::try_from(left).map_or(available, |left| left.min(available))
}

#[cfg(test)]
mod tests {
    use super::super::layers::tests::{DIGESTS, DIRECTORIES, description, layers};
    use super::super::tar::tests::block;
    use super::*;

    fn entry(name: &str, kind: u8, data: &[u8]) -> Vec<u8> {
        let mut bytes = block(name, kind, &format!("{:011o}", data.len())).to_vec();
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
        bytes
    }

    /// An archive in the old layout: what of it stays if the lowest `held` layers are there.
    fn archive(held: usize) -> Vec<u8> {
        let mut bytes = entry("config.json", b'0', b"{}");
        for (at, directory) in [2, 0, 1].map(|at| (at, DIRECTORIES[at])) {
            bytes.extend(entry(&format!("{directory}/"), b'5', b""));
            let text = if at == 2 { "{}".to_owned() } else { description(at) };
            bytes.extend(entry(&format!("{directory}/json"), b'0', text.as_bytes()));
            if at >= held {
                bytes.extend(entry(&format!("{directory}/layer.tar"), b'0', &[7; 700]));
            }
        }
        bytes.extend(entry("manifest.json", b'0', b"[]"));
        bytes.resize(bytes.len() + 2 * BLOCK_BYTES, 0);
        bytes
    }

    fn sift(input: &[u8], step: usize, held: usize) -> (Result<(), TarFault>, Vec<u8>, usize) {
        let (mut sieve, mut out) = (LayerFilter::new(layers(held)), Vec::new());
        for piece in input.chunks(step) {
            if let Err(fault) = sieve.push(piece, &mut out) {
                assert_eq!(sieve.push(b"x", &mut out), Err(fault));
                return (sieve.finish(), out, sieve.left_out());
            }
        }
        (sieve.finish(), out, sieve.left_out())
    }

    #[test]
    fn layers_that_are_there_are_left_out_however_it_is_cut() {
        let whole = archive(0);
        for held in 0..=2 {
            for step in [1, 7, 511, 512, 513, whole.len()] {
                let (end, out, left_out) = sift(&whole, step, held);
                assert_eq!((end, left_out), (Ok(()), held), "{held} in steps of {step}");
                assert!(out == archive(held), "{held} in steps of {step}");
            }
        }
    }

    #[test]
    fn the_new_layout_and_long_headers_are_read() {
        let name = DIGESTS[0].replace("sha256:", "blobs/sha256/");
        let pax = format!("{} path={name}\n13 size=1000\n", name.len() + 9);
        let mut bytes = entry("long", b'x', pax.as_bytes());
        bytes.extend(block("short", b'0', "0"));
        bytes.resize(bytes.len() + 1024, 9);
        let gnu = entry("././@LongLink", b'L', &[name.as_bytes(), b"\0"].concat());
        bytes.extend([gnu, entry("short", b'0', b"layer")].concat());
        let rest = [entry("././@LongLink", b'K', b"to\0"), entry("kept", b'2', b"")].concat();
        bytes.extend_from_slice(&rest);
        bytes.resize(bytes.len() + 2 * BLOCK_BYTES, 0);
        for step in [1, 100, bytes.len()] {
            let (end, out, left_out) = sift(&bytes, step, 1);
            assert_eq!((end, left_out), (Ok(()), 2));
            assert!(out == [rest.as_slice(), &[0; 1024]].concat());
        }
    }

    #[test]
    fn a_cut_archive_is_not_whole_and_a_changed_one_never_grows() {
        let whole = archive(0);
        for length in 0..whole.len() - 2 * BLOCK_BYTES {
            assert_eq!(sift(&whole[..length], 4096, 2).0, Err(TarFault::Cut), "cut at {length}");
        }
        for at in (0..whole.len()).step_by(3) {
            let mut changed = whole.clone();
            changed[at] = changed[at].wrapping_add(1);
            let (_, out, _) = sift(&changed, 1000, 2);
            assert!(out.len() <= changed.len(), "byte {at}");
        }
    }

    #[test]
    fn headers_have_bounds() {
        let mut bytes = Vec::new();
        for _ in 0..3 {
            bytes.extend(entry("l", b'K', &[b'a'; SHIP_EXTENSION_BYTES_MAX / 2]));
        }
        assert_eq!(sift(&bytes, 4096, 1).0, Err(TarFault::Extension));
        let many = entry("a", b'0', b"").repeat(SHIP_ENTRIES_MAX + 1);
        assert_eq!(sift(&many, 4096, 1).0, Err(TarFault::Entries));
    }
}
