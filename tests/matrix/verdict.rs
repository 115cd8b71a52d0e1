//! What became of the fields of a message, in the words of the document.

use trivium_core::Protocol;

use crate::message::{Field, Message, Place, type_name};
use crate::peer::Journey;
use crate::rows::Row;

/// Two cells of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) arrives_as: String,
    pub(crate) comes_back: String,
}

/// From where to where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) from: Protocol,
    pub(crate) to: Protocol,
}

/// The rows that show all speak of QoS; for all others a message is the same at any QoS.
fn said(row: &Row, message: &Message) -> Message {
    let mut said = message.clone();
    said.fields.retain(|field| row.shows_all || field.name != "QoS");
    said
}

/// Judges one journey. `bare` is the journey of a message with nothing but a body: what it gains
/// is not this row's.
pub(crate) fn judge(
    row: &Row,
    pair: Pair,
    sent: &Message,
    got: &Journey,
    bare: &Journey,
) -> Verdict {
    let sent = &said(row, sent);
    let mut arrives_as = match &got.there {
        None => "**not delivered**".into(),
        Some(there) => arrival(row, pair, sent, &said(row, there), bare.there.as_ref()),
    };
    if got.is_loss_counted {
        arrives_as.push_str(", a loss counted");
    }
    let comes_back = match (&got.there, &got.back) {
        (None, _) => "-".into(),
        (_, Ok(None)) => "**not delivered**".into(),
        (_, Err(_)) => "**refused**".into(),
        (_, Ok(Some(back))) => {
            let bare = bare.back.as_ref().ok().and_then(Option::as_ref);
            comparison(row, pair.from, sent, &said(row, back), bare)
        }
    };
    Verdict { arrives_as, comes_back }
}

fn arrival(
    row: &Row,
    pair: Pair,
    sent: &Message,
    there: &Message,
    bare: Option<&Message>,
) -> String {
    if there.body != sent.body {
        return "**another body**".into();
    }
    if pair.from == pair.to && there == sent {
        return "the same".into();
    }
    let gained =
        |field: &&Field| !row.shows_all && bare.is_some_and(|bare| bare.fields.contains(field));
    let mut phrases: Vec<String> = Vec::new();
    for field in there.fields.iter().filter(|field| !gained(field)) {
        let mut phrase = describe(row, pair.to, &sent.fields, field);
        let says_the_same = |other: &Field| other.text() == field.text();
        if row.shows_all {
            phrase = format!("{phrase} {}", field.text().escape_ascii());
        } else if !row.is_translated && !sent.fields.iter().any(says_the_same) {
            phrase.push_str(", another value");
        }
        phrases.push(phrase);
    }
    match (phrases.is_empty(), sent.fields.is_empty()) {
        (true, true) => "arrives".into(),
        (true, false) => "nothing".into(),
        _ => joined(phrases),
    }
}

fn comparison(
    row: &Row,
    protocol: Protocol,
    sent: &Message,
    back: &Message,
    bare: Option<&Message>,
) -> String {
    let is_gained_by_all = |field: &Field| {
        !row.shows_all
            && !sent.fields.iter().any(|own| own.is_beside(field))
            && bare.is_some_and(|bare| bare.fields.iter().any(|known| known.is_beside(field)))
    };
    let mut extra: Vec<_> =
        back.fields.iter().filter(|field| !is_gained_by_all(field)).cloned().collect();
    let is_equal = extra == sent.fields;
    let mut missing = Vec::new();
    for field in &sent.fields {
        match extra.iter().position(|other| other == field) {
            Some(at) => drop(extra.remove(at)),
            None => missing.push(field),
        }
    }
    let mut phrases = Vec::new();
    for field in missing {
        phrases.push(fate(row, protocol, sent, field, &mut extra));
    }
    for field in &extra {
        let value =
            if row.shows_all { format!(" {}", field.text().escape_ascii()) } else { String::new() };
        phrases.push(format!("gains {}{value}", describe(row, protocol, &sent.fields, field)));
    }
    if back.address != sent.address {
        phrases.push("**another address**".into());
    }
    if back.body != sent.body {
        phrases.push("**another body**".into());
    }
    match (phrases.is_empty(), is_equal) {
        (true, true) => "equal".into(),
        (true, false) => "**another order**".into(),
        _ => joined(phrases),
    }
}

/// What a field became that did not come back as it was; takes that out of `extra`.
fn fate(
    row: &Row,
    protocol: Protocol,
    sent: &Message,
    field: &Field,
    extra: &mut Vec<Field>,
) -> String {
    if let Some(at) = extra.iter().position(|other| other.is_beside(field)) {
        let other = extra.remove(at);
        return if row.shows_all {
            let (was, is) = (field.text(), other.text());
            let name = describe(row, protocol, &sent.fields, &other);
            format!("**{name} {} becomes {}**", was.escape_ascii(), is.escape_ascii())
        } else if other.tag == field.tag {
            "**another value**".into()
        } else {
            format!("**{} becomes {}**", type_name(field.tag), type_name(other.tag))
        };
    }
    let says_the_same = |other: &Field| other.text() == field.text();
    match extra.iter().position(says_the_same) {
        Some(at) => {
            let other = extra.remove(at);
            format!("**becomes {}**", describe(row, protocol, &sent.fields, &other))
        }
        None => "**lost**".into(),
    }
}

fn describe(row: &Row, protocol: Protocol, sent: &[Field], field: &Field) -> String {
    let name = if row.any_name && sent.iter().any(|own| own.name == field.name) {
        "its name".into()
    } else if row.any_name && field.name.len() > 40 {
        "another name".into()
    } else {
        format!("`{}`", field.name)
    };
    match (protocol, field.place) {
        (Protocol::Amqp, Place::Header) => format!("header {name} ({})", type_name(field.tag)),
        (Protocol::Mqtt, Place::Header) => format!("user property {name}"),
        (Protocol::Stomp, _) => format!("header {name}"),
        (_, Place::Property) => name,
    }
}

/// Phrases in their order, each once.
fn joined(phrases: Vec<String>) -> String {
    let mut once: Vec<String> = Vec::new();
    for phrase in phrases {
        if !once.contains(&phrase) {
            once.push(phrase);
        }
    }
    once.join(", ")
}
