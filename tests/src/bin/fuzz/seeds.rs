//! What clients say in the golden traces, frame by frame.

use std::path::Path;

use trivium_core::Protocol;

use crate::pattern::Names;
use crate::{assembler, text};

/// The frames of all traces of one protocol, and which belong together.
pub(crate) struct Seeds {
    /// What opens a connection (in AMQP header, start-ok, tune-ok, open, channel.open).
    pub(crate) opening: Vec<Vec<u8>>,
    /// The frames of one trace each, without the opening.
    pub(crate) traces: Vec<Vec<Vec<u8>>>,
}

impl Seeds {
    pub(crate) fn read(protocol: Protocol) -> Result<Self, String> {
        let name = protocol.name();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("wire").join(name);
        let mut names: Vec<_> = folder
            .read_dir()
            .map_err(|error| format!("{}: {error}", folder.display()))?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .collect();
        // The same order on every machine, so that a seed repeats.
        names.sort();
        let has = |path: &&std::path::PathBuf, extension| {
            path.extension().is_some_and(|found| found == extension)
        };
        let mut opening = Vec::new();
        for part in ["connection.part", "opening.part"] {
            let path = folder.join(part);
            if path.exists() {
                opening.extend(said(&path, protocol)?);
            }
        }
        let traces =
            names.iter().filter(|path| has(path, "trace")).map(|path| said(path, protocol));
        let mut traces = traces.collect::<Result<Vec<_>, _>>()?;
        traces.retain(|frames| !frames.is_empty());
        Ok(Self { opening, traces })
    }

    pub(crate) fn len(&self) -> usize {
        self.traces.iter().map(Vec::len).sum()
    }
}

/// The frames that clients send in a file. Names that a broker makes are not known here: what uses
/// one is left out.
fn said(path: &Path, protocol: Protocol) -> Result<Vec<Vec<u8>>, String> {
    let content = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let mut frames = Vec::new();
    for line in content.lines() {
        let Some((head, rest)) = line.split_once(' ') else { continue };
        if !head.ends_with('>') {
            continue;
        }
        let parsed = match protocol {
            Protocol::Stomp => text::parse(rest),
            Protocol::Amqp | Protocol::Mqtt => assembler::parse(rest),
        };
        let parsed = parsed.map_err(|error| format!("{line}: {error}"))?;
        if let Ok(octets) = parsed.fill(&Names::new()) {
            match protocol {
                Protocol::Amqp => split(&octets, &mut frames),
                // A line is a packet or a frame, or a few that belong together.
                Protocol::Mqtt | Protocol::Stomp => frames.push(octets),
            }
        }
    }
    Ok(frames)
}

/// Cuts octets where frames end; what is no frame stays in one piece.
fn split(mut octets: &[u8], frames: &mut Vec<Vec<u8>>) {
    const OVERHEAD: usize = 8;
    while !octets.is_empty() {
        let len = match octets {
            [1 | 2 | 3 | 8, _, _, a, b, c, d, ..] => {
                u32::from_be_bytes([*a, *b, *c, *d]) as usize + OVERHEAD
            }
            [b'A', b'M', b'Q', b'P', ..] => OVERHEAD,
            _ => octets.len(),
        };
        let (frame, rest) = octets.split_at(len.min(octets.len()));
        frames.push(frame.to_vec());
        octets = rest;
    }
}
