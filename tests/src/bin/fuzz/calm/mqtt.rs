//! A client of MQTT 3.1.1 or 5 that keeps to the rules: at every QoS, with sessions that outlive
//! its connections.

use std::collections::BTreeMap;
use std::fmt::Write;

use trivium_core::Protocol;

use super::names;
use super::{body, check_body, hexadecimal};
use crate::assembler;
use crate::frames;
use crate::pattern::Names;
use crate::random::Random;
use crate::speaker::Speaker;

/// See the module.
pub(crate) struct Mqtt {
    operations: usize,
    is_v5: bool,
    id: String,
    /// Somebody else may use the identifier, too, and take the session over.
    is_shared: bool,
    /// Of deliveries at QoS 1 and 2 at once, where the client says.
    receive_max: Option<usize>,
    heard: Vec<u8>,
    owed: String,
    is_open: bool,
    last_id: u16,
    /// What was published or asked, and what answers it.
    awaited: BTreeMap<u16, Awaited>,
    /// Deliveries that are not answered to the end: their QoS, and whether PUBREC was said.
    unsettled: BTreeMap<u16, (u8, bool)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Puback,
    Pubrec,
    Pubcomp,
    Suback,
    Unsuback,
}

impl Mqtt {
    pub(crate) fn new(random: &mut Random, number: usize) -> Self {
        let is_shared = random.chance(15);
        let id = if is_shared { "shared".to_owned() } else { format!("client-{number}") };
        let is_v5 = random.chance(60);
        let limits = is_v5 && random.chance(50);
        let mut mqtt = Self {
            operations: random.between(10, 80),
            is_v5,
            id,
            is_shared,
            receive_max: limits.then(|| random.between(1, 6)),
            heard: Vec::new(),
            owed: String::new(),
            is_open: false,
            last_id: 0,
            awaited: BTreeMap::new(),
            unsettled: BTreeMap::new(),
        };
        mqtt.reconnect();
        mqtt
    }

    /// An identifier that is free.
    fn packet_id(&mut self, awaited: Awaited) -> u16 {
        loop {
            self.last_id = self.last_id % 200 + 1;
            if let std::collections::btree_map::Entry::Vacant(free) =
                self.awaited.entry(self.last_id)
            {
                free.insert(awaited);
                return self.last_id;
            }
        }
    }

    fn operate(&mut self, random: &mut Random, said: &mut String) {
        match random.below(100) {
            0..45 => self.publish(random, said),
            45..75 => self.settle(random, said),
            75..88 => self.subscribe(random, said),
            88..92 => {
                let id = self.packet_id(Awaited::Unsuback);
                let properties = if self.is_v5 { "var[]" } else { "" };
                let filter = filter(random);
                write!(said, "unsubscribe[ u16:{id} {properties} u16[\"{filter}\"] ] ").ok();
            }
            92..97 => said.push_str("pingreq[] "),
            _ => {
                said.push_str("disconnect[] ");
                self.is_open = false;
            }
        }
    }

    fn publish(&mut self, random: &mut Random, said: &mut String) {
        // A client has so many under way at most; the broker's Receive Maximum is larger.
        let qos = if self.awaited.len() < 10 { random.below(3) } else { 0 };
        // That there is no such queue only an acknowledgement of MQTT 5 can say.
        let topic = match random.below(5) {
            0 if self.is_v5 && qos > 0 => format!("$queue/{}", names::queue(random)),
            _ => names::key(random).replace('.', "/"),
        };
        let id = match qos {
            0 => String::new(),
            1 => format!("u16:{}", self.packet_id(Awaited::Puback)),
            _ => format!("u16:{}", self.packet_id(Awaited::Pubrec)),
        };
        let properties = match (self.is_v5, random.below(3)) {
            (false, _) => "",
            (true, 0) => "var[ 02 u32:1 03 u16[\"text/plain\"] ]",
            (true, 1) => "var[ 26 u16[\"k\"] u16[\"v\"] ]",
            _ => "var[]",
        };
        let retain = if random.chance(10) { "r" } else { "" };
        let body = hexadecimal(&body(random));
        write!(said, "publish:{qos}{retain}[ u16[\"{topic}\"] {id} {properties} {body} ] ").ok();
    }

    fn subscribe(&mut self, random: &mut Random, said: &mut String) {
        let id = self.packet_id(Awaited::Suback);
        let properties = if self.is_v5 { "var[]" } else { "" };
        write!(said, "subscribe[ u16:{id} {properties} ").ok();
        for _ in 0..random.between(1, 3) {
            let qos = random.below(3);
            write!(said, "u16[\"{}\"] 0{qos} ", filter(random)).ok();
        }
        said.push_str("] ");
    }

    /// Answers one delivery, as far as it is.
    fn settle(&mut self, random: &mut Random, said: &mut String) {
        let ids: Vec<_> = self.unsettled.keys().copied().collect();
        let Some(id) = (!ids.is_empty()).then(|| *random.pick(&ids)) else { return };
        match self.unsettled.get_mut(&id) {
            Some((1, _)) => {
                self.unsettled.remove(&id);
                let reason = if self.is_v5 && random.chance(10) { "80" } else { "" };
                write!(said, "puback[ u16:{id} {reason} ] ").ok();
            }
            Some((_, is_received @ false)) => {
                *is_received = true;
                write!(said, "pubrec[ u16:{id} ] ").ok();
            }
            // The broker's PUBREL is to come.
            _ => {}
        }
    }

    fn on_packet(&mut self, packet: &[u8]) -> Result<(), String> {
        let Some((first, rest)) = packet.split_first() else { return Ok(()) };
        let (_, rest) = number(rest);
        let id = rest.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
        match first >> 4 {
            2 => {
                self.is_open = rest.get(1) == Some(&0);
                if rest.first() == Some(&0) {
                    self.unsettled.clear();
                }
            }
            3 => return self.on_publish(*first, rest),
            4 => self.on_answer(id, Awaited::Puback)?,
            5 => {
                self.on_answer(id, Awaited::Pubrec)?;
                if rest.get(2).is_none_or(|reason| *reason < 0x80) {
                    self.awaited.insert(id, Awaited::Pubcomp);
                    write!(self.owed, "pubrel[ u16:{id} ] ").ok();
                }
            }
            6 => {
                self.unsettled.remove(&id);
                write!(self.owed, "pubcomp[ u16:{id} ] ").ok();
            }
            7 => self.on_answer(id, Awaited::Pubcomp)?,
            9 => self.on_answer(id, Awaited::Suback)?,
            11 => self.on_answer(id, Awaited::Unsuback)?,
            14 => {
                // 0x8B: shutting down. 0x8E: taken over. 0x98: a queue it subscribed to was deleted.
                let reason = rest.first().copied().unwrap_or(0);
                if !matches!(reason, 0x8B | 0x8E | 0x98) {
                    return Err(format!("a client that keeps to the rules is told {reason:#x}"));
                }
                self.is_open = false;
            }
            _ => {}
        }
        Ok(())
    }

    fn on_answer(&mut self, id: u16, what: Awaited) -> Result<(), String> {
        match self.awaited.remove(&id) {
            Some(awaited) if awaited == what => Ok(()),
            other => Err(format!("{what:?} for {id}, which awaits {other:?}")),
        }
    }

    fn on_publish(&mut self, first: u8, rest: &[u8]) -> Result<(), String> {
        let (qos, is_duplicate) = ((first >> 1) & 3, first & 8 != 0);
        let topic = rest.first_chunk().map_or(0, |len| usize::from(u16::from_be_bytes(*len)));
        let mut rest = rest.get(2 + topic..).ok_or("a topic longer than its packet")?;
        if qos > 0 {
            let id = rest.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
            rest = rest.get(2..).ok_or("no packet identifier")?;
            if self.unsettled.insert(id, (qos, false)).is_some() && !is_duplicate {
                return Err(format!("packet identifier {id} is in use"));
            }
            if self.receive_max.is_some_and(|max| self.unsettled.len() > max) {
                return Err(format!("{} deliveries at once", self.unsettled.len()));
            }
        }
        if self.is_v5 {
            let (len, behind) = number(rest);
            rest = behind.get(len..).ok_or("properties longer than their packet")?;
        }
        check_body(rest)
    }
}

impl Speaker for Mqtt {
    fn say(&mut self, random: &mut Random) -> Vec<u8> {
        let mut said = std::mem::take(&mut self.owed);
        if !self.is_open {
            self.operations = self.operations.saturating_sub(1);
        }
        for _ in 0..random.between(1, 8) {
            if self.operations > 0 && self.is_open {
                self.operations -= 1;
                self.operate(random, &mut said);
            }
        }
        let pattern = assembler::parse(&said).unwrap_or_else(|error| panic!("{error} in {said}"));
        pattern.fill(&Names::new()).unwrap_or_else(|error| panic!("{error} in {said}"))
    }

    fn hear(&mut self, octets: &[u8]) -> Result<(), String> {
        self.heard.extend_from_slice(octets);
        while let Some(packet) = frames::take(Protocol::Mqtt, &mut self.heard)? {
            self.on_packet(&packet)?;
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.operations == 0 && self.owed.is_empty()
    }

    fn reconnect(&mut self) {
        self.heard.clear();
        self.awaited.clear();
        self.unsettled.clear();
        self.is_open = false;
        let id = &self.id;
        self.owed = if self.is_v5 {
            let receive_max =
                self.receive_max.map(|max| format!("21 u16:{max}")).unwrap_or_default();
            format!(
                "connect[ u16[\"MQTT\"] 05 0C u16:0 var[ 11 u32:60 {receive_max} ] u16[\"{id}\"] \
                 var[] u16[\"a/b\"] u16[\"will\"] ] "
            )
        } else {
            format!("connect[ u16[\"MQTT\"] 04 00 u16:0 u16[\"{id}\"] ] ")
        };
    }

    fn is_calm(&self) -> bool {
        // To 3.1.1 nothing else says that a publish was refused, by a full queue or an alarm.
        self.is_open && !self.is_shared && self.is_v5
    }

    fn check_end(&self) -> Result<(), String> {
        // Whether the last PUBREL and PUBCOMP crossed the end does not matter.
        let is_owed = |awaited: &Awaited| !matches!(awaited, Awaited::Pubcomp);
        match self.awaited.iter().find(|(_, awaited)| self.is_open && is_owed(awaited)) {
            Some((id, awaited)) => Err(format!("{awaited:?} for {id} never comes")),
            None => Ok(()),
        }
    }
}

fn filter(random: &mut Random) -> String {
    let pattern = names::pattern(random).replace('.', "/").replace('*', "+");
    // `#` only stands at the end.
    let filter = match pattern.split_once('#') {
        Some((before, _)) => format!("{before}#"),
        None => pattern,
    };
    match random.below(6) {
        0 => format!("$share/group/{filter}"),
        1 => format!("$queue/{}", names::queue(random)),
        _ => filter,
    }
}

/// A variable byte integer, and what is behind it.
fn number(octets: &[u8]) -> (usize, &[u8]) {
    let mut number = 0;
    for (at, octet) in octets.iter().take(4).enumerate() {
        number |= usize::from(octet & 0x7F) << (7 * at);
        if octet & 0x80 == 0 {
            return (number, &octets[at + 1..]);
        }
    }
    (0, octets)
}
