//! What a client hears, cut where frames end. The broker's octets are whole frames of the
//! protocol, or that is a finding.

use trivium_core::Protocol;

/// The largest frame that the AMQP adapter may write, head and end included.
const AMQP_FRAME_BYTES_MAX: usize = 131_072;

/// Takes the frame at the start of `heard`; nothing while it is not all there.
pub(crate) fn take(protocol: Protocol, heard: &mut Vec<u8>) -> Result<Option<Vec<u8>>, String> {
    let len = match protocol {
        Protocol::Amqp => amqp(heard)?,
        Protocol::Mqtt => mqtt(heard)?,
        Protocol::Stomp => {
            let ends = heard.iter().take_while(|octet| **octet == b'\n').count();
            heard.drain(..ends);
            stomp(heard)?
        }
    };
    Ok(len.filter(|len| *len <= heard.len()).map(|len| heard.drain(..len).collect()))
}

fn amqp(heard: &[u8]) -> Result<Option<usize>, String> {
    const OVERHEAD: usize = 8;
    match heard {
        [b'A', b'M', b'Q', b'P', 0, 0, 9, 1, ..] => Ok(Some(OVERHEAD)),
        [1 | 2 | 3 | 8, _, _, a, b, c, d, rest @ ..] => {
            let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            if rest.get(len).is_some_and(|end| *end != 0xCE)
                || len + OVERHEAD > AMQP_FRAME_BYTES_MAX
            {
                return Err(format!("a frame of {len} octets without its end"));
            }
            Ok(Some(len + OVERHEAD))
        }
        [b'A' | 1 | 2 | 3 | 8, ..] | [] => Ok(None),
        _ => Err(format!("no frame: {:?}", &heard[..heard.len().min(20)])),
    }
}

fn mqtt(heard: &[u8]) -> Result<Option<usize>, String> {
    let Some((first, rest)) = heard.split_first() else { return Ok(None) };
    if first >> 4 == 0 {
        return Err(format!("no packet: {:?}", &heard[..heard.len().min(20)]));
    }
    let mut len = 0;
    for (at, octet) in rest.iter().take(4).enumerate() {
        len |= usize::from(octet & 0x7F) << (7 * at);
        if octet & 0x80 == 0 {
            return Ok(Some(len + at + 2));
        }
    }
    if rest.len() < 4 { Ok(None) } else { Err("a length of five octets".into()) }
}

fn stomp(heard: &[u8]) -> Result<Option<usize>, String> {
    const COMMANDS: [&[u8]; 4] = [b"CONNECTED\n", b"MESSAGE\n", b"RECEIPT\n", b"ERROR\n"];
    let can_be = |command: &&[u8]| command.starts_with(&heard[..heard.len().min(command.len())]);
    if !COMMANDS.iter().any(can_be) {
        return Err(format!("no frame: {:?}", String::from_utf8_lossy(heard)));
    }
    let Some(end) = heard.windows(2).position(|pair| pair == b"\n\n") else { return Ok(None) };
    let (lines, body) = (&heard[..end], &heard[end + 2..]);
    let len = match header(lines, "content-length").map(str::parse::<usize>) {
        Some(Ok(len)) => len,
        Some(Err(_)) => return Err("a content-length that is no number".into()),
        None => match body.iter().position(|octet| *octet == 0) {
            Some(len) => len,
            None => return Ok(None),
        },
    };
    if body.get(len).is_some_and(|end| *end != 0) {
        return Err(format!("a body of {len} octets without its end"));
    }
    Ok(Some(end + 2 + len + 1))
}

/// The first header of that name in a frame of STOMP.
pub(crate) fn header<'a>(frame: &'a [u8], name: &str) -> Option<&'a str> {
    let end = frame.windows(2).position(|pair| pair == b"\n\n").unwrap_or(frame.len());
    let head = std::str::from_utf8(&frame[..end]).ok()?;
    head.lines().skip(1).find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}
