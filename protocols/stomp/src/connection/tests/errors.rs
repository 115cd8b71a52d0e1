//! SENDs and frames that are wrong.

use super::*;

#[test]
fn wrong_frames() {
    check(&[
        (
            "S-22: unknown command",
            &[
                Send('a', "FOO\nreceipt:1\n\n\0"),
                error(
                    'a',
                    "Bad command",
                    "receipt-id:1\n",
                    "Could not interpret command \"FOO\"\n",
                ),
                Closed('a'),
            ],
        ),
        (
            "S-43",
            &[
                Send('a', "SEND\n\nx\0"),
                error(
                    'a',
                    "Missing destination",
                    "",
                    "\"SEND\" must include a 'destination' header\n",
                ),
                Closed('a'),
            ],
        ),
        (
            "S-46: no such kind of destination",
            &[
                Send('a', "SEND\ndestination:/foo/a\n\nx\0"),
                error(
                    'a',
                    "Unknown destination",
                    "",
                    "'/foo/a' is not a valid destination.\nValid destination types are: /temp-queue, /exchange, /topic, /queue, /amq/queue, /reply-queue/.\n",
                ),
                Closed('a'),
            ],
        ),
        (
            "S-46: no such exchange",
            &[
                Send('a', "SEND\ndestination:/exchange/nope/k\nreceipt:1\n\nx\0"),
                error(
                    'a',
                    "not_found",
                    "receipt-id:1\n",
                    "NOT_FOUND - no exchange 'nope' in vhost '/'",
                ),
                Closed('a'),
            ],
        ),
        (
            "S-46: no such queue",
            &[
                Send('a', "SEND\ndestination:/amq/queue/nope\n\nx\0"),
                error('a', "not_found", "", "NOT_FOUND - no queue 'nope' in vhost '/'"),
                Closed('a'),
            ],
        ),
        (
            "S-46: nobody waits for this reply any more",
            &[
                Send('a', "SEND\ndestination:/reply-queue/nope\nreceipt:1\n\nx\0"),
                receipt('a', "1"),
            ],
        ),
        (
            "message-id is MESSAGE's",
            &[
                Send('a', "SEND\ndestination:q\nmessage-id:1\n\nx\0"),
                error('a', "Invalid header", "", "'message-id' is not allowed on 'SEND'.\n"),
            ],
        ),
        (
            "nobody publishes in another's name",
            &[
                Send('a', "SEND\ndestination:/topic/t\nuser-id:guest\nreceipt:1\n\nx\0"),
                receipt('a', "1"),
                Send('a', "SEND\ndestination:q\nuser-id:root\nreceipt:2\n\nx\0"),
                error(
                    'a',
                    "precondition_failed",
                    "receipt-id:2\n",
                    "PRECONDITION_FAILED - user_id property set to 'root' but authenticated user was 'guest'",
                ),
            ],
        ),
        (
            "S-82: nothing after an ERROR",
            &[
                Send('a', "SEND\ndestination:q\nbad\n\n\0SUBSCRIBE\nid:0\ndestination:q\n\n\0"),
                error('a', "Invalid frame", "", "header line without a name and a colon\n"),
                Closed('a'),
            ],
        ),
        (
            "S-84: the receipt of a queue that cannot be declared",
            &[
                Send('a', "SEND\ndestination:/queue/amq.mine\nreceipt:1\n\nx\0"),
                error(
                    'a',
                    "access_refused",
                    "receipt-id:1\n",
                    "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
                ),
                Closed('a'),
            ],
        ),
    ]);
}

#[test]
fn limits() {
    let config = Config { message_bytes_max: 5, ..Config::default() };
    converse(
        "S-21",
        &config,
        &[
            Send('a', "SEND\ndestination:/topic/t\nreceipt:1\n\n12345\0"),
            receipt('a', "1"),
            Send('a', "SEND\ndestination:/topic/t\ncontent-length:6\n\n"),
            error('a', "Invalid frame", "", "body of more than 5 octets\n"),
            Closed('a'),
        ],
    );
}

#[test]
fn declared_queues_are_remembered_in_bounds() {
    let config = Config { declared_queues_max: 1, ..Config::default() };
    converse(
        "forgotten and declared again",
        &config,
        &[
            Send(
                'a',
                "SEND\ndestination:q\n\n1\0SEND\ndestination:r\n\n2\0SEND\ndestination:q\n\n3\0",
            ),
            Send('a', "SUBSCRIBE\nid:0\ndestination:q\n\n\0"),
            reads(
                'a',
                "MESSAGE\nsubscription:0\nmessage-id:$-1-1\ndestination:/queue/q\nredelivered:false\ncontent-length:1\n\n1\0\
                    MESSAGE\nsubscription:0\nmessage-id:$-1-2\ndestination:/queue/q\nredelivered:false\ncontent-length:1\n\n3\0",
            ),
        ],
    );
}

#[test]
fn rabbitmqs_habit_is_to_go_on() {
    let config = Config { keep_open_after_error: true, ..Config::default() };
    let bad_command = error('a', "Bad command", "", "Could not interpret command \"FOO\"\n");
    let not_found = error('a', "not_found", "", "NOT_FOUND - no exchange 'nope' in vhost '/'");
    let duplicated = error(
        'b',
        "Duplicated subscription identifier",
        "",
        "A subscription identified by 'T_0' already exists.",
    );
    converse(
        "an ERROR about one frame, then one of the broker's",
        &config,
        &[
            Send('a', "FOO\n\n\0SUBSCRIBE\nid:0\ndestination:/queue/q\nreceipt:s\n\n\0"),
            Step::Read('a', [text_of(&bad_command), text_of(&receipt('a', "s"))].concat()),
            Send('a', "COMMIT\ntransaction:t\nreceipt:c\n\n\0"),
            error(
                'a',
                "Bad transaction",
                "receipt-id:c\n",
                "Invalid transaction identifier: \"t\"\n",
            ),
            Send('a', "SEND\ndestination:/queue/q\n\nx\0"),
            message('a', "subscription:0\nmessage-id:$-1-1\ndestination:/queue/q", "x"),
            Send('a', "SEND\ndestination:/exchange/nope/k\n\nx\0"),
            not_found,
            Closed('a'),
            Send('b', "SUBSCRIBE\nid:0\ndestination:/queue/q\n\n\0"),
            Send('b', "SUBSCRIBE\nid:0\ndestination:/queue/q\n\n\0"),
            duplicated,
            Closed('b'),
        ],
    );
}

fn text_of(step: &Step) -> &str {
    let Step::Read(_, text) = step else { unreachable!("a step that reads") };
    text
}
