//! ACK, NACK and the three modes.

use super::*;

const THREE: &str =
    "SEND\ndestination:q\n\n1\0SEND\ndestination:q\n\n2\0SEND\ndestination:q\n\n3\0";

fn text(subscription: &str, ack: bool, numbered: &[(u8, &str, bool)]) -> String {
    let one = |(number, body, redelivered): &(u8, &str, bool)| {
        let name = format!("$-1-{number}");
        let ack = if ack { format!("ack:{name}\n") } else { String::new() };
        format!(
            "MESSAGE\n{subscription}message-id:{name}\n{ack}destination:/queue/q\n\
             redelivered:{redelivered}\ncontent-length:{}\n\n{body}\0",
            body.len()
        )
    };
    numbered.iter().map(one).collect()
}

/// Three messages to `a`, what it answers, and what `b` gets once `a` is gone.
fn settles(rule: &str, mode: &str, answer: &'static str, left: &[(u8, &str, bool)]) {
    let subscribe: &'static str = match mode {
        "client" => "SUBSCRIBE\nid:0\ndestination:q\nack:client\n\n\0",
        "auto" => "SUBSCRIBE\nid:0\ndestination:q\n\n\0",
        _ => "SUBSCRIBE\nid:0\ndestination:q\nack:client-individual\n\n\0",
    };
    let sent = [(1, "1", false), (2, "2", false), (3, "3", false)];
    converse(
        rule,
        &Config::default(),
        &[
            Send('a', subscribe),
            Send('a', THREE),
            reads('a', &text("subscription:0\n", mode != "auto", &sent)),
            Send('a', answer),
            Send('a', "BEGIN\ntransaction:t\nreceipt:r\n\n\0"),
            receipt('a', "r"),
            Break('a'),
            Send('b', "SUBSCRIBE\nid:0\ndestination:q\n\n\0"),
            reads('b', &text("subscription:0\n", false, left)),
        ],
    );
}

#[test]
fn modes() {
    let all = [(1, "1", true), (2, "2", true), (3, "3", true)];
    settles("S-55: auto", "auto", "", &[]);
    settles("S-55: auto needs no ACK, and takes one", "auto", "ACK\nid:$-1-2\n\n\0", &[]);
    settles("S-56: client", "client", "", &all);
    settles("S-57: client is cumulative", "client", "ACK\nid:$-1-2\n\n\0", &[(1, "3", true)]);
    settles(
        "S-57: covered before",
        "client",
        "ACK\nid:$-1-2\n\n\0ACK\nid:$-1-1\n\n\0",
        &[(1, "3", true)],
    );
    settles(
        "S-58: individual",
        "individual",
        "ACK\nid:$-1-2\n\n\0",
        &[(1, "1", true), (2, "3", true)],
    );
    settles(
        "S-62: given up",
        "individual",
        "NACK\nid:$-1-2\nrequeue:false\n\n\0",
        &[(1, "1", true), (2, "3", true)],
    );
    settles(
        "S-63: given up, cumulative",
        "client",
        "NACK\nid:$-1-2\nrequeue:false\n\n\0",
        &[(1, "3", true)],
    );
    settles("UNSUBSCRIBE gives back", "client", "UNSUBSCRIBE\nid:0\n\n\0ACK\nid:$-1-2\n\n\0", &all);
}

#[test]
fn nack_requeues_to_the_front() {
    converse(
        "S-62",
        &Config::default(),
        &[
            Send(
                'a',
                "SUBSCRIBE\nid:0\ndestination:q\nack:client-individual\nprefetch-count:1\n\n\0",
            ),
            Send('a', THREE),
            reads('a', &text("subscription:0\n", true, &[(1, "1", false)])),
            Send('a', "NACK\nid:$-1-1\n\n\0"),
            reads('a', &text("subscription:0\n", true, &[(2, "1", true)])),
        ],
    );
}

#[test]
fn the_shape_is_the_versions() {
    let sent = [(1, "1", false), (2, "2", false), (3, "3", false)];
    let connected = |version: &str| {
        reads(
            'A',
            &format!(
                "CONNECTED\nversion:{version}\nheart-beat:0,0\nsession:session-$\nserver:Trivium/0.1.0\n\n\0"
            ),
        )
    };
    check(&[
        (
            "S-59, S-60: 1.1",
            &[
                Send('A', "CONNECT\naccept-version:1.1\n\n\0"),
                connected("1.1"),
                Send('A', "SUBSCRIBE\nid:0\ndestination:q\nack:client\n\n\0"),
                Send('A', THREE),
                reads('A', &text("subscription:0\n", false, &sent)),
                Send('A', "ACK\nsubscription:0\nmessage-id:$-1-2\nreceipt:1\n\n\0"),
                receipt('A', "1"),
                Break('A'),
                Send('b', "SUBSCRIBE\nid:0\ndestination:q\n\n\0"),
                reads('b', &text("subscription:0\n", false, &[(1, "3", true)])),
            ],
        ),
        (
            "S-57, S-59: 1.0, cumulative as other brokers have it",
            &[
                Send('A', "CONNECT\n\n\0"),
                connected("1.0"),
                Send('A', "SUBSCRIBE\ndestination:q\nack:client\n\n\0"),
                Send('A', THREE),
                reads('A', &text("", false, &sent)),
                Send('A', "ACK\nmessage-id:$-1-2\n\n\0NACK\nmessage-id:$-1-1\n\n\0"),
                error('A', "Bad command", "", "Could not interpret command \"NACK\"\n"),
                Closed('A'),
                Send('b', "SUBSCRIBE\nid:0\ndestination:q\n\n\0"),
                reads('b', &text("subscription:0\n", false, &[(1, "3", true)])),
            ],
        ),
    ]);
}

#[test]
fn wrong_acknowledgements() {
    check(&[
        (
            "S-61: missing",
            &[
                Send('a', "ACK\nmessage-id:$-1-1\nreceipt:1\n\n\0"),
                error(
                    'a',
                    "Missing header",
                    "receipt-id:1\n",
                    "\"ACK\" must include the \"id\" header\n",
                ),
                Closed('a'),
            ],
        ),
        (
            "S-61: no id of ours",
            &[
                Send('a', "NACK\nid:foo\n\n\0"),
                error('a', "Invalid header", "", "\"NACK\" must include a valid \"id\" header\n"),
            ],
        ),
        (
            "S-61: never sent",
            &[
                Send('a', "SUBSCRIBE\nid:0\ndestination:q\nack:client\n\n\0ACK\nid:$-1-99\n\n\0"),
                error(
                    'a',
                    "precondition_failed",
                    "",
                    "PRECONDITION_FAILED - unknown delivery tag 99",
                ),
                Closed('a'),
            ],
        ),
        (
            "S-58: twice",
            &[
                Send(
                    'a',
                    "SUBSCRIBE\nid:0\ndestination:q\nack:client-individual\n\n\0SEND\ndestination:q\n\n1\0",
                ),
                reads('a', &text("subscription:0\n", true, &[(1, "1", false)])),
                Send('a', "ACK\nid:$-1-1\n\n\0ACK\nid:$-1-1\n\n\0"),
                error(
                    'a',
                    "precondition_failed",
                    "",
                    "PRECONDITION_FAILED - unknown delivery tag 1",
                ),
            ],
        ),
        (
            "no such subscription ever",
            &[
                Send('a', "ACK\nid:$-7-1\n\n\0"),
                error(
                    'a',
                    "precondition_failed",
                    "",
                    "PRECONDITION_FAILED - unknown delivery tag 1",
                ),
            ],
        ),
    ]);
}
