//! The beginning of what somebody says, up to a bound.

/// What was said on one output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// The beginning, up to the bound.
    pub(crate) bytes: Vec<u8>,
    /// Whether there was more.
    pub(crate) is_cut: bool,
}

impl Collected {
    /// Keeps what fits below `limit` bytes, which is always the same, and drops the rest.
    pub(crate) fn keep(&mut self, bytes: &[u8], limit: usize) {
        let kept = bytes.len().min(limit - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..kept]);
        self.is_cut |= kept < bytes.len();
    }
}
