//! Receipts that wait for their SENDs to be safe, oldest first (S-78).

use std::collections::VecDeque;

use trivium_core::{Ticket, Transmit};

/// The names of receipts, already written as the connection's version writes them, in one ring of
/// octets: a SEND with a receipt allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    entries: VecDeque<(Ticket, usize)>,
    names: VecDeque<u8>,
}

impl Receipts {
    /// The receipt of what is safe when `ticket` is confirmed. Tickets never decrease.
    pub(crate) fn push(&mut self, ticket: Ticket, name: &[u8]) {
        self.entries.push_back((ticket, name.len()));
        self.names.extend(name);
    }

    /// Nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The ticket of the newest.
    pub(crate) fn last(&self) -> Option<Ticket> {
        self.entries.back().map(|(ticket, _)| *ticket)
    }

    /// Octets of all names, and the entries about them.
    pub(crate) fn cost_bytes(&self) -> usize {
        self.names.len() + self.entries.len() * size_of::<(Ticket, usize)>()
    }

    /// Writes every receipt up to `through`.
    pub(crate) fn confirm(&mut self, through: Ticket, out: &mut Transmit) {
        while let Some((_, len)) = self.entries.pop_front_if(|(ticket, _)| *ticket <= through) {
            out.bytes.extend_from_slice(HEAD);
            let (front, back) = self.names.as_slices();
            let in_front = len.min(front.len());
            out.bytes.extend_from_slice(&front[..in_front]);
            out.bytes.extend_from_slice(&back[..len - in_front]);
            self.names.drain(..len);
            out.bytes.extend_from_slice(TAIL);
            out.end_frame();
        }
    }

    /// The receipt that the SEND with this ticket, or else the COMMIT around it, asked for.
    pub(crate) fn find(&self, refused: Ticket) -> Option<Vec<u8>> {
        let mut start = 0;
        for (ticket, len) in &self.entries {
            if *ticket >= refused {
                return Some(self.names.range(start..start + len).copied().collect());
            }
            start += len;
        }
        None
    }
}

const HEAD: &[u8] = b"RECEIPT\nreceipt-id:";
const TAIL: &[u8] = b"\n\n\0";

/// Writes a receipt that waits for nothing (S-77). By hand like those that wait: a SEND in three
/// asks for one, and the crate's builder allocates a kilobyte for it.
pub(crate) fn write(name: &[u8], out: &mut Transmit) {
    out.bytes.extend_from_slice(HEAD);
    out.bytes.extend_from_slice(name);
    out.bytes.extend_from_slice(TAIL);
    out.end_frame();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_leave_in_order_and_only_when_confirmed() {
        let mut receipts = Receipts::default();
        for ticket in 1..=300 {
            receipts.push(Ticket(ticket), format!("r{ticket}").as_bytes());
            let mut out = Transmit::default();
            receipts.confirm(Ticket(ticket.saturating_sub(7)), &mut out);
            let expected = match ticket.checked_sub(7) {
                Some(confirmed) if confirmed > 0 => {
                    format!("RECEIPT\nreceipt-id:r{confirmed}\n\n\0")
                }
                _ => String::new(),
            };
            assert_eq!(String::from_utf8(out.bytes).unwrap(), expected);
        }
        assert_eq!(receipts.find(Ticket(296)).as_deref(), Some(&b"r296"[..]));
        assert_eq!(receipts.find(Ticket(301)), None);
        receipts.confirm(Ticket(300), &mut Transmit::default());
        assert!(receipts.is_empty());
        assert_eq!(receipts.cost_bytes(), 0);
    }
}
