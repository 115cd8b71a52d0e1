//! CONNECT, heart-beats, DISCONNECT.

use super::*;

const CONNECTED: &str = "\nsession:session-$\nserver:Trivium/0.1.0\n\n\0";

fn connected(version: &str, heart_beat: &str) -> Step {
    reads('A', &format!("CONNECTED\nversion:{version}\nheart-beat:{heart_beat}{CONNECTED}"))
}

#[test]
fn connecting() {
    let illegal = "You must log in using CONNECT first";
    check(&[
        ("S-28: no accept-version is 1.0", &[Send('A', "CONNECT\n\n\0"), connected("1.0", "0,0")]),
        (
            "S-24, S-29: STOMP, the highest version",
            &[
                Send('A', "STOMP\r\naccept-version:1.0,1.1,1.2\r\nhost:localhost\r\n\r\n\0\n"),
                connected("1.2", "0,0"),
            ],
        ),
        (
            "S-30: no common version",
            &[
                Send('A', "CONNECT\naccept-version:2.0\n\n\0"),
                error('A', "Version mismatch", "", "Supported versions are 1.0,1.1,1.2\n"),
                Closed('A'),
            ],
        ),
        (
            "S-26, S-34: a wrong password",
            &[
                Send('A', "CONNECT\naccept-version:1.2\nlogin:guest\npasscode:wrong\n\n\0"),
                error('A', "Bad CONNECT", "", "Access refused for user 'guest'\n"),
                Closed('A'),
            ],
        ),
        (
            "S-26, S-14: login, padded as 1.0 does",
            &[Send('A', "CONNECT\nlogin: guest\npasscode: guest\n\n\0"), connected("1.0", "0,0")],
        ),
        (
            "S-31: a name that was dialled is the default vhost",
            &[
                Send('A', "CONNECT\naccept-version:1.1\nhost:broker.example:61613\n\n\0"),
                connected("1.1", "0,0"),
            ],
        ),
        (
            "S-31: a host that is no name",
            &[
                Send('A', "CONNECT\naccept-version:1.2\nhost:/nope\n\n\0"),
                error('A', "Bad CONNECT", "", "Virtual host '/nope' access denied"),
                Closed('A'),
            ],
        ),
        (
            "S-23: anything before CONNECT",
            &[
                Send('A', "SEND\ndestination:/queue/a\n\n\0"),
                error('A', "Illegal command", "", illegal),
                Closed('A'),
            ],
        ),
        (
            "S-23: a browser",
            &[
                Send('A', "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
                error('A', "Illegal command", "", illegal),
                Closed('A'),
            ],
        ),
        (
            "a second CONNECT",
            &[
                Send('a', "CONNECT\naccept-version:1.2\n\n\0"),
                error('a', "Illegal command", "", "Already connected"),
                Closed('a'),
            ],
        ),
        (
            "no CONNECT in time",
            &[Send('A', "CONN"), Pass(9_999), reads('A', ""), Pass(1), reads('A', ""), Closed('A')],
        ),
    ]);
}

#[test]
fn a_strict_host_must_be_a_vhost() {
    let config = Config { strict_host: true, ..Config::default() };
    converse(
        "S-31",
        &config,
        &[
            Send('A', "CONNECT\naccept-version:1.2\nhost:localhost\n\n\0"),
            error('A', "Bad CONNECT", "", "Virtual host 'localhost' access denied"),
            Closed('A'),
        ],
    );
}

#[test]
fn heart_beats() {
    check(&[
        (
            "S-39, S-40: ours, a quarter early",
            &[
                Send('A', "CONNECT\naccept-version:1.2\nheart-beat:0,4000\n\n\0"),
                connected("1.2", "4000,0"),
                Pass(2_999),
                reads('A', ""),
                Pass(1),
                reads('A', "\n"),
                Pass(3_000),
                reads('A', "\n"),
                Pass(2_000),
                Send('A', "BEGIN\ntransaction:1\nreceipt:1\n\n\0"),
                receipt('A', "1"),
                Pass(2_000),
                reads('A', ""),
                Pass(1_000),
                reads('A', "\n"),
            ],
        ),
        (
            "S-41, S-42: the client's, any octet, with a margin",
            &[
                Send('A', "CONNECT\naccept-version:1.2\nheart-beat:4000,0\n\n\0"),
                connected("1.2", "0,4000"),
                Pass(7_000),
                Send('A', "\n"),
                Pass(7_000),
                Send('A', "SE"),
                Pass(7_999),
                reads('A', ""),
                Pass(1),
                reads('A', ""),
                Closed('A'),
            ],
        ),
        (
            "S-37: no numbers",
            &[
                Send('A', "CONNECT\naccept-version:1.2\nheart-beat:often\n\n\0"),
                error('A', "Processing error", "", "Processing error"),
                Closed('A'),
            ],
        ),
    ]);
}

#[test]
fn disconnecting() {
    check(&[
        (
            "S-69, S-70: the receipt, and nothing after it",
            &[
                Send('a', "DISCONNECT\nreceipt:1\n\n\0SEND\ndestination:/foo\n\n\0"),
                receipt('a', "1"),
                Closed('a'),
            ],
        ),
        ("S-69: without", &[Send('a', "DISCONNECT\n\n\0"), reads('a', ""), Closed('a')]),
        (
            "S-79, S-80: the receipts of what came before come before",
            &[
                Send('a', "SUBSCRIBE\nid:0\ndestination:/queue/q\n\n\0"),
                Send('a', "SEND\ndestination:/queue/q\npersistent:true\nreceipt:s\n\nhi\0"),
                Send('a', "DISCONNECT\nreceipt:d\n\n\0"),
                reads(
                    'a',
                    "MESSAGE\nsubscription:0\nmessage-id:$-1-1\ndestination:/queue/q\n\
                        redelivered:false\npersistent:true\ncontent-length:2\n\nhi\0",
                ),
                Durable,
                reads('a', "RECEIPT\nreceipt-id:s\n\n\0RECEIPT\nreceipt-id:d\n\n\0"),
                Closed('a'),
            ],
        ),
    ]);
}

#[test]
fn a_shutdown_says_goodbye() {
    let world = World::new();
    let mut client = connect(&world, &Config::default(), usize::MAX);
    client.send(b"CONNECT\naccept-version:1.2\n\n\0");
    let goodbye = String::from_utf8(client.shutdown()).unwrap();
    assert!(goodbye.starts_with("ERROR\nmessage:connection_forced\n"), "{goodbye}");
    assert!(client.is_closed());
}

#[test]
fn the_log_learns_who_it_was_and_why() {
    let world = World::new();
    let mut client = connect(&world, &Config::default(), usize::MAX);
    client.send(b"CONNECT\naccept-version:1.1\nlogin:guest\npasscode:guest\n\n\0");
    let description = client.adapter().unwrap().describe();
    assert!(description.is_open && description.error.is_none());
    assert_eq!(description.user.as_deref(), Some("guest"));
    assert_eq!(description.version, "STOMP 1.1");
}
