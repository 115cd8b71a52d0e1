//! BEGIN, COMMIT, ABORT, and receipts.

use super::*;

#[test]
fn receipts_wait_for_what_they_promise() {
    check(&[
        (
            "S-78: a SEND's waits for its confirm, others do not",
            &[
                Send('a', "SEND\ndestination:/queue/q\npersistent:true\nreceipt:1\n\nx\0"),
                reads('a', ""),
                Send('a', "SEND\ndestination:/queue/q\npersistent:true\nreceipt:a\\cb\n\nx\0"),
                Send('a', "BEGIN\ntransaction:t\nreceipt:3\n\n\0"),
                receipt('a', "3"),
                Durable,
                reads('a', "RECEIPT\nreceipt-id:1\n\n\0RECEIPT\nreceipt-id:a\\cb\n\n\0"),
            ],
        ),
        (
            "S-78: nothing to wait for",
            &[Send('a', "SEND\ndestination:/topic/nobody\nreceipt:1\n\nx\0"), receipt('a', "1")],
        ),
    ]);
}

#[test]
fn transactions() {
    check(&[
        (
            "S-66: together at COMMIT",
            &[
                Send('b', "SUBSCRIBE\nid:0\ndestination:/topic/t\n\n\0"),
                Send('a', "BEGIN\ntransaction:t\n\n\0"),
                Send('a', "SEND\ndestination:/topic/t\ntransaction:t\n\n1\0"),
                Send('a', "SEND\ndestination:/topic/t\n\n0\0"),
                message('b', "subscription:0\nmessage-id:$-1-1\ndestination:/topic/t", "0"),
                Send('a', "COMMIT\ntransaction:t\n\n\0"),
                message('b', "subscription:0\nmessage-id:$-1-2\ndestination:/topic/t", "1"),
            ],
        ),
        (
            "S-66: not at all at ABORT; the name is free again",
            &[
                Send('b', "SUBSCRIBE\nid:0\ndestination:/topic/t\n\n\0"),
                Send(
                    'a',
                    "BEGIN\ntransaction:t\n\n\0SEND\ndestination:/topic/t\ntransaction:t\n\n1\0",
                ),
                Send(
                    'a',
                    "ABORT\ntransaction:t\nreceipt:1\n\n\0BEGIN\ntransaction:t\n\n\0COMMIT\ntransaction:t\nreceipt:2\n\n\0",
                ),
                reads('a', "RECEIPT\nreceipt-id:1\n\n\0RECEIPT\nreceipt-id:2\n\n\0"),
                reads('b', ""),
            ],
        ),
        (
            "S-68: DISCONNECT aborts",
            &[
                Send('b', "SUBSCRIBE\nid:0\ndestination:/topic/t\n\n\0"),
                Send(
                    'a',
                    "BEGIN\ntransaction:t\n\n\0SEND\ndestination:/topic/t\ntransaction:t\n\n1\0DISCONNECT\n\n\0",
                ),
                Closed('a'),
                reads('b', ""),
            ],
        ),
        (
            "S-64: ACK in a transaction",
            &[
                Send(
                    'a',
                    "SUBSCRIBE\nid:0\ndestination:q\nack:client-individual\n\n\0SEND\ndestination:q\n\n1\0",
                ),
                message(
                    'a',
                    "subscription:0\nmessage-id:$-1-1\nack:$-1-1\ndestination:/queue/q",
                    "1",
                ),
                Send(
                    'a',
                    "BEGIN\ntransaction:t\n\n\0ACK\nid:$-1-1\ntransaction:t\nreceipt:1\n\n\0ABORT\ntransaction:t\n\n\0",
                ),
                receipt('a', "1"),
                Send(
                    'a',
                    "BEGIN\ntransaction:t\n\n\0ACK\nid:$-1-1\ntransaction:t\n\n\0COMMIT\ntransaction:t\n\n\0",
                ),
                Send('a', "ACK\nid:$-1-1\n\n\0"),
                error(
                    'a',
                    "precondition_failed",
                    "",
                    "PRECONDITION_FAILED - unknown delivery tag 1",
                ),
            ],
        ),
        (
            "S-78: the receipts come when COMMIT is safe",
            &[
                Send('a', "BEGIN\ntransaction:t\n\n\0"),
                Send(
                    'a',
                    "SEND\ndestination:/queue/q\npersistent:true\ntransaction:t\nreceipt:s\n\n1\0",
                ),
                Send('a', "SEND\ndestination:/queue/q\npersistent:true\ntransaction:t\n\n2\0"),
                Durable,
                reads('a', ""),
                Send('a', "COMMIT\ntransaction:t\nreceipt:c\n\n\0"),
                reads('a', ""),
                Durable,
                reads('a', "RECEIPT\nreceipt-id:s\n\n\0RECEIPT\nreceipt-id:c\n\n\0"),
            ],
        ),
        (
            "S-65",
            &[
                Send('a', "BEGIN\n\n\0"),
                error(
                    'a',
                    "Missing transaction",
                    "",
                    "\"BEGIN\" must include a 'transaction' header\n",
                ),
                Closed('a'),
            ],
        ),
        (
            "S-67",
            &[
                Send('a', "BEGIN\ntransaction:t\n\n\0BEGIN\ntransaction:t\n\n\0"),
                error('a', "Bad transaction", "", "Duplicate transaction identifier: \"t\"\n"),
            ],
        ),
        (
            "none of that name",
            &[
                Send('a', "SEND\ndestination:q\ntransaction:t\nreceipt:1\n\n\0"),
                error(
                    'a',
                    "Bad transaction",
                    "receipt-id:1\n",
                    "Invalid transaction identifier: \"t\"\n",
                ),
            ],
        ),
    ]);
}

#[test]
fn transactions_are_limited() {
    let config = Config {
        transactions_max: 1,
        transaction_frames_max: 1,
        transaction_bytes_max: 50,
        ..Config::default()
    };
    converse(
        "open ones",
        &config,
        &[
            Send('a', "BEGIN\ntransaction:1\n\n\0BEGIN\ntransaction:2\n\n\0"),
            error(
                'a',
                "resource_error",
                "",
                "RESOURCE_ERROR - open transactions limit (1) is reached",
            ),
        ],
    );
    converse(
        "frames",
        &config,
        &[
            Send(
                'a',
                "BEGIN\ntransaction:1\n\n\0SEND\ndestination:q\ntransaction:1\n\n\0SEND\ndestination:q\ntransaction:1\n\n\0",
            ),
            error(
                'a',
                "resource_error",
                "",
                "RESOURCE_ERROR - frames in a transaction limit (1) is reached",
            ),
        ],
    );
    converse(
        "bytes, given back at the end of each",
        &config,
        &[
            Send(
                'a',
                "BEGIN\ntransaction:1\n\n\0SEND\ndestination:q\ntransaction:1\n\n1234567890123456789012345678901234567890\0ABORT\ntransaction:1\n\n\0",
            ),
            Send(
                'a',
                "BEGIN\ntransaction:1\n\n\0SEND\ndestination:q\ntransaction:1\n\n1234567890123456789012345678901234567890\0ABORT\ntransaction:1\n\n\0",
            ),
            Send(
                'a',
                "BEGIN\ntransaction:1\n\n\0SEND\ndestination:q\ntransaction:1\n\n12345678901234567890123456789012345678901234567890\0",
            ),
            error(
                'a',
                "resource_error",
                "",
                "RESOURCE_ERROR - bytes in open transactions limit (50) is reached",
            ),
        ],
    );
    let config = Config { receipt_bytes_max: 10, ..Config::default() };
    converse(
        "receipts",
        &config,
        &[
            Send('a', "SEND\ndestination:q\npersistent:true\nreceipt:1\n\n\0"),
            error(
                'a',
                "resource_error",
                "receipt-id:1\n",
                "RESOURCE_ERROR - bytes of receipts under way limit (10) is reached",
            ),
        ],
    );
}

#[test]
fn a_send_waits_for_the_end_of_an_alarm_unless_acknowledgements_are_behind_it() {
    check(&[
        (
            "nothing is unsettled",
            &[
                Alarm(true),
                Send(
                    'a',
                    "SEND\ndestination:q\nreceipt:1\n\nx\0BEGIN\ntransaction:t\nreceipt:2\n\n\0",
                ),
                reads('a', ""),
                Alarm(false),
                // BEGIN has nothing to wait for.
                reads('a', "RECEIPT\nreceipt-id:2\n\n\0RECEIPT\nreceipt-id:1\n\n\0"),
            ],
        ),
        (
            "a delivery is",
            &[
                Send(
                    'a',
                    "SUBSCRIBE\nid:0\ndestination:q\nack:client\n\n\0SEND\ndestination:q\n\n1\0",
                ),
                message(
                    'a',
                    "subscription:0\nmessage-id:$-1-1\nack:$-1-1\ndestination:/queue/q",
                    "1",
                ),
                Alarm(true),
                Send('a', "SEND\ndestination:q\n\n2\0"),
                error(
                    'a',
                    "resource_error",
                    "",
                    "RESOURCE_ERROR - publishing is blocked: low on memory",
                ),
            ],
        ),
    ]);
}
