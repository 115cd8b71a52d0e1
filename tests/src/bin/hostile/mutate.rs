//! What can happen to valid octets on their way.

use crate::random::Random;

/// Damages `octets` in a few places.
pub(crate) fn damage(octets: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..random.between(1, 5) {
        damage_once(octets, random);
    }
}

fn damage_once(octets: &mut Vec<u8>, random: &mut Random) {
    if octets.is_empty() {
        octets.push(random.octet());
    }
    let at = random.below(octets.len());
    let run = random.between(1, 17).min(octets.len() - at);
    match random.below(11) {
        0 => octets[at] ^= 1 << random.below(8),
        1 => octets[at] = *random.pick(&[0, 1, 0x7F, 0x80, 0xCE, 0xFF]),
        2 => octets[at] = random.octet(),
        3 => drop(octets.splice(at..at, random.bytes(run))),
        4 => drop(octets.drain(at..at + run)),
        5 => {
            let copy = octets[at..at + run].to_vec();
            octets.splice(at..at, copy);
        }
        6 => octets.truncate(at),
        7 => overwrite(octets, at, &[0xFF; 4]),
        8 => overwrite(octets, at, random.pick::<&[u8]>(&[&[0xFF, 0xFF], &[0, 0], &[0x7F, 0xFF]])),
        9 => overwrite(octets, at, &[0xFF, 0xFF, 0xFF, 0x7F]),
        _ => drop(octets.splice(at..at, vec![0; run])),
    }
}

fn overwrite(octets: &mut [u8], at: usize, with: &[u8]) {
    let end = octets.len().min(at + with.len());
    octets[at..end].copy_from_slice(&with[..end - at]);
}

/// Drops, repeats and moves whole frames.
pub(crate) fn shuffle(frames: &mut Vec<Vec<u8>>, random: &mut Random) {
    for _ in 0..random.between(1, 6) {
        if frames.is_empty() {
            return;
        }
        let (at, other) = (random.below(frames.len()), random.below(frames.len()));
        match random.below(3) {
            0 => drop(frames.remove(at)),
            1 => frames.insert(other, frames[at].clone()),
            _ => frames.swap(at, other),
        }
    }
}
