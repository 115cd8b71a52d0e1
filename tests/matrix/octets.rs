//! Octets from the front of what a client read.

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Octets<'a>(pub(crate) &'a [u8]);

impl<'a> Octets<'a> {
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    /// A big-endian number of `width` octets.
    pub(crate) fn number(&mut self, width: usize) -> u64 {
        self.take(width).iter().fold(0, |sum, &octet| sum << 8 | u64::from(octet))
    }

    /// As many octets as the number of `width` octets in front says.
    pub(crate) fn sized(&mut self, width: usize) -> &'a [u8] {
        let size = usize::try_from(self.number(width)).expect("a size fits");
        self.take(size)
    }

    pub(crate) fn sized_text(&mut self, width: usize) -> String {
        String::from_utf8(self.sized(width).to_vec()).expect("a string is UTF-8")
    }
}

/// Appends `octets` behind their length in `width` octets.
pub(crate) fn push_sized(octets: &[u8], width: usize, out: &mut Vec<u8>) {
    let length = (octets.len() as u64).to_be_bytes();
    assert!(length[..8 - width].iter().all(|&octet| octet == 0), "{} are too many", octets.len());
    out.extend_from_slice(&length[8 - width..]);
    out.extend_from_slice(octets);
}
