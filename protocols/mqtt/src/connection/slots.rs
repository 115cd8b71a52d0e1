//! Packet identifiers towards a client, and what was sent under each.

use trivium_core::DeliveryId;

/// A delivery under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) delivery: DeliveryId,
    /// 1 or 2.
    pub(super) qos: u8,
    /// PUBREC came; PUBCOMP is waited for.
    pub(super) is_released: bool,
}

#[derive(Clone, Copy, Debug)]
enum Slot {
    Free,
    /// A delivery of an earlier connection will be repeated under it.
    Reserved,
    Sent(Sent),
}

/// What is under way, by packet identifier - 1.
#[derive(Debug)]
pub(super) struct Slots {
    by_id: Vec<Slot>,
    /// Identifiers that are free, at most as many as `slots` has places.
    free: Vec<u16>,
    unsettled_max: usize,
    unsettled: usize,
}

impl Slots {
    /// At most `unsettled_max` under way at once; `reserved` are taken by name only.
    pub(super) fn new(unsettled_max: u16, reserved: &[u16]) -> Self {
        let mut slots = Self {
            by_id: Vec::new(),
            free: Vec::new(),
            unsettled_max: usize::from(unsettled_max),
            unsettled: 0,
        };
        let highest = reserved.iter().max().copied().unwrap_or(0);
        slots.by_id.resize(usize::from(highest), Slot::Free);
        for label in reserved {
            if let Some(slot) = slots.slot(*label) {
                *slot = Slot::Reserved;
            }
        }
        let is_free = |id: &u16| matches!(slots.by_id[usize::from(*id) - 1], Slot::Free);
        slots.free = (1..=highest).rev().filter(is_free).collect();
        slots
    }

    fn slot(&mut self, packet_id: u16) -> Option<&mut Slot> {
        let index = usize::from(packet_id).checked_sub(1)?;
        self.by_id.get_mut(index)
    }

    /// Keeps `sent` under `label`, which was reserved, or under an identifier that is not in use
    /// [MQTT-2.2.1-4] when it is 0. `None` when too many are under way.
    pub(super) fn take(&mut self, label: u16, sent: Sent) -> Option<u16> {
        if self.unsettled >= self.unsettled_max {
            return None;
        }
        let packet_id = if label > 0 {
            label
        } else if let Some(packet_id) = self.free.pop() {
            packet_id
        } else {
            let packet_id = u16::try_from(self.by_id.len() + 1).ok()?;
            self.by_id.push(Slot::Free);
            packet_id
        };
        *self.slot(packet_id)? = Slot::Sent(sent);
        self.unsettled += 1;
        Some(packet_id)
    }

    /// Whether anything is under way.
    pub(super) const fn are_taken(&self) -> bool {
        self.unsettled > 0
    }

    /// What is under way under an identifier.
    pub(super) fn at(&mut self, packet_id: u16) -> Option<Sent> {
        self.at_mut(packet_id).copied()
    }

    /// What is under way under an identifier.
    pub(super) fn at_mut(&mut self, packet_id: u16) -> Option<&mut Sent> {
        match self.slot(packet_id) {
            Some(Slot::Sent(sent)) => Some(sent),
            Some(Slot::Free | Slot::Reserved) | None => None,
        }
    }

    /// Frees an identifier.
    pub(super) fn give_back(&mut self, packet_id: u16) -> Option<Sent> {
        let sent = self.at(packet_id)?;
        if let Some(slot) = self.slot(packet_id) {
            *slot = Slot::Free;
        }
        self.free.push(packet_id);
        self.unsettled -= 1;
        Some(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_identifiers_are_taken_by_name_only() {
        let delivery = trivium_core::testing::delivery(0);
        let sent = Sent { delivery, qos: 1, is_released: false };
        let mut slots = Slots::new(4, &[2, 4]);
        assert_eq!(slots.take(0, sent), Some(1));
        assert_eq!(slots.take(0, sent), Some(3));
        assert_eq!(slots.take(0, sent), Some(5));
        assert_eq!(slots.take(2, sent), Some(2));
        assert_eq!(slots.take(4, sent), None, "too many");
        assert!(slots.give_back(5).is_some());
        assert!(slots.give_back(5).is_none());
        assert_eq!(slots.take(4, sent), Some(4));
        assert!(slots.at(5).is_none());
    }
}
