//! SCRAM-SHA-256 (RFC 5802 and 7677), the server's half, without channel binding.
//!
//! What proves a password is derived from it ([`Verifier`]); the password itself is not needed any
//! more then. User names and passwords are taken as they are: both sides must agree on their form,
//! which `SASLprep` changes only outside ASCII.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// Octets of a key and of a signature.
pub(super) const KEY_BYTES: usize = 32;

/// Octets of a salt.
pub(super) const SALT_BYTES: usize = 16;

/// What RFC 7677 asks for at least: a device has to do as many.
const ITERATIONS: u32 = 4096;

/// The longest message of a client, in bytes: names and nonces are far shorter.
const MESSAGE_BYTES_MAX: usize = 4096;

type Key = [u8; KEY_BYTES];

/// What a server keeps of a password.
#[derive(Clone)]
pub(super) struct Verifier {
    salt: [u8; SALT_BYTES],
    iterations: u32,
    stored_key: Key,
    server_key: Key,
}

impl Verifier {
    /// Derives it; takes a millisecond or two.
    pub(super) fn derive(password: &[u8], salt: [u8; SALT_BYTES]) -> Self {
        let mut salted = Key::default();
        pbkdf2::pbkdf2_hmac::<Sha256>(password, &salt, ITERATIONS, &mut salted);
        let client_key = sign(&salted, b"Client Key");
        Self {
            salt,
            iterations: ITERATIONS,
            stored_key: Sha256::digest(client_key).into(),
            server_key: sign(&salted, b"Server Key"),
        }
    }

    /// One that nothing proves, for a user that is not there: its challenge looks like any other,
    /// and like itself every time.
    pub(super) fn of_nobody(secret: &Key, name: &str) -> Self {
        let mut salt = [0; SALT_BYTES];
        salt.copy_from_slice(&sign(secret, name.as_bytes())[..SALT_BYTES]);
        let (stored_key, server_key) = (*secret, *secret);
        Self { salt, iterations: ITERATIONS, stored_key, server_key }
    }
}

/// A client's first message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct First<'a> {
    /// The user, decoded.
    pub(super) user: String,
    /// What stands before the rest, with its last comma.
    header: &'a str,
    /// The rest.
    bare: &'a str,
    nonce: &'a str,
}

impl<'a> First<'a> {
    /// Reads `gs2-header client-first-message-bare` (RFC 5802, section 7).
    pub(super) fn read(message: &'a [u8]) -> Result<Self, &'static str> {
        let text = text(message)?;
        let (binding, rest) = text.split_once(',').ok_or(MALFORMED)?;
        match binding {
            "n" | "y" => {}
            _ if binding.starts_with("p=") => return Err("SCRAM with channel binding"),
            _ => return Err(MALFORMED),
        }
        let (identity, bare) = rest.split_once(',').ok_or(MALFORMED)?;
        let (name, rest) = attribute(bare, "n=")?;
        let (nonce, _) = attribute(rest.ok_or(MALFORMED)?, "r=")?;
        let user = decode_name(name)?;
        if !identity.is_empty() {
            // Nobody acts for somebody else.
            let other = decode_name(identity.strip_prefix("a=").ok_or(MALFORMED)?)?;
            if other != user {
                return Err("SCRAM for another user");
            }
        }
        let header = &text[..text.len() - bare.len()];
        if nonce.is_empty() { Err(MALFORMED) } else { Ok(Self { user, header, bare, nonce }) }
    }
}

/// What waits for a client's proof.
pub(super) struct Exchange {
    verifier: Verifier,
    header: String,
    nonce: String,
    /// Both first messages, as the signatures cover them.
    messages: String,
}

impl Exchange {
    /// Answers the first message. Returns what waits for the proof, and the challenge.
    pub(super) fn begin(first: &First<'_>, verifier: Verifier, random: &[u8]) -> (Self, Vec<u8>) {
        let nonce = format!("{}{}", first.nonce, BASE64.encode(random));
        let salt = BASE64.encode(verifier.salt);
        let challenge = format!("r={nonce},s={salt},i={}", verifier.iterations);
        let messages = format!("{},{challenge}", first.bare);
        let header = first.header.to_owned();
        (Self { verifier, header, nonce, messages }, challenge.into_bytes())
    }

    /// Checks the proof; returns the server's own.
    pub(super) fn finish(&self, message: &[u8]) -> Result<Vec<u8>, &'static str> {
        let text = text(message)?;
        let (unproven, proof) = text.rsplit_once(",p=").ok_or(MALFORMED)?;
        let (binding, rest) = attribute(unproven, "c=")?;
        let (nonce, _) = attribute(rest.ok_or(MALFORMED)?, "r=")?;
        if BASE64.decode(binding).ok().as_deref() != Some(self.header.as_bytes()) {
            return Err("SCRAM with another channel binding");
        }
        if nonce != self.nonce {
            return Err("SCRAM with another nonce");
        }
        let proof: Key =
            BASE64.decode(proof).ok().and_then(|proof| proof.try_into().ok()).ok_or(MALFORMED)?;
        let signed = format!("{},{unproven}", self.messages);
        let signature = sign(&self.verifier.stored_key, signed.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        let stored_key = Sha256::digest(&client_key);
        let difference =
            stored_key.iter().zip(self.verifier.stored_key).fold(0, |all, (a, b)| all | (a ^ b));
        if std::hint::black_box(difference) != 0 {
            return Err("wrong password");
        }
        let signature = sign(&self.verifier.server_key, signed.as_bytes());
        Ok(format!("v={}", BASE64.encode(signature)).into_bytes())
    }
}

const MALFORMED: &str = "SCRAM message that is none";

fn text(message: &[u8]) -> Result<&str, &'static str> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err("SCRAM message too long");
    }
    std::str::from_utf8(message).map_err(|_| MALFORMED)
}

/// The value of the attribute at the start, and what follows its comma.
fn attribute<'a>(text: &'a str, name: &str) -> Result<(&'a str, Option<&'a str>), &'static str> {
    let value = text.strip_prefix(name).ok_or(MALFORMED)?;
    Ok(value.split_once(',').map_or((value, None), |(value, rest)| (value, Some(rest))))
}

/// `=2C` is a comma, `=3D` an equals sign, and nothing else follows one.
fn decode_name(name: &str) -> Result<String, &'static str> {
    let mut decoded = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find('=') {
        decoded.push_str(&rest[..at]);
        decoded.push(match rest.get(at..at + 3) {
            Some("=2C") => ',',
            Some("=3D") => '=',
            _ => return Err(MALFORMED),
        });
        rest = &rest[at + 3..];
    }
    decoded.push_str(rest);
    if decoded.is_empty() { Err(MALFORMED) } else { Ok(decoded) }
}

fn sign(key: &[u8], message: &[u8]) -> Key {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";

    /// The exchange of RFC 7677, section 3.
    fn example() -> Exchange {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap();
        let first = First::read(FIRST).unwrap();
        assert_eq!(first.user, "user");
        let verifier = Verifier::derive(b"pencil", salt);
        let (mut exchange, challenge) = Exchange::begin(&first, verifier, b"x");
        assert_eq!(challenge, b"r=rOprNGfwEbeRWgbNEkqOeA==,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        // Its server's nonce is not base64.
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        exchange.messages = exchange.messages.replace(&exchange.nonce, nonce);
        nonce.clone_into(&mut exchange.nonce);
        exchange
    }

    #[test]
    fn the_example_of_rfc_7677_is_accepted() {
        let answer = example().finish(
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
              p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        );
        assert_eq!(answer.unwrap(), b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn what_proves_nothing_is_refused() {
        let good = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        for (was, is) in [
            ("p=d", "p=e"),
            ("biws", "eSws"),
            ("k0,", "k1,"),
            (",p=", ",q="),
            ("VQ=", "VQ"),
            ("c=", "d="),
        ] {
            assert!(example().finish(good.replace(was, is).as_bytes()).is_err(), "{was} {is}");
        }
        assert!(example().finish(b"").is_err());
        assert!(example().finish(b"\xFF").is_err());
        let first = First::read(FIRST).unwrap();
        let (nobody, challenge) =
            Exchange::begin(&first, Verifier::of_nobody(&[1; KEY_BYTES], "user"), b"x");
        assert!(challenge.ends_with(b"==,i=4096"), "as of somebody");
        assert!(nobody.finish(good.as_bytes()).is_err());
    }

    #[test]
    fn first_messages_are_read_with_care() {
        let user = |message: &str| First::read(message.as_bytes()).map(|first| first.user);
        assert_eq!(user("y,a=a=2Cb=3D,n=a=2Cb=3D,r=x,ext=1"), Ok("a,b=".into()));
        for message in [
            "",
            "n",
            "n,",
            "n,,",
            "n,,n=",
            "n,,n=u",
            "n,,n=u,r=",
            "n,,r=x,n=u",
            "x,,n=u,r=x",
            "p=tls-unique,,n=u,r=x",
            "n,a=v,n=u,r=x",
            "n,,n=u=,r=x",
            "n,,m=e,n=u,r=x",
            "n,,n==2c,r=x",
        ] {
            assert!(user(message).is_err(), "{message}");
        }
    }
}
