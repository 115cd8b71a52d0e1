//! Random sequences of frames against a model: nothing is lost, nothing comes twice without saying
//! so, transactions happen as a whole or not at all, and every RECEIPT comes when it may and not
//! before. What the broker says is read by `stomp-parser`, too.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod frames;
mod model;
mod run;

use proptest::prelude::*;

use run::Op;

fn op() -> impl Strategy<Value = Op> {
    (any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>())
        .prop_map(|(kind, client, first, second)| Op { kind, client, first, second })
}

proptest! {
    #[test]
    fn frames_do_what_the_model_does(
        ops in prop::collection::vec(op(), 1..120),
        chunk_len in prop::sample::select(vec![usize::MAX, 1, 7]),
    ) {
        run::run(&ops, chunk_len);
    }
}

/// Enough of each, in one long run whose course is known.
#[test]
fn a_long_run_reaches_everything() {
    let mut number = 1_u64;
    let mut next = || {
        number =
            number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        number.to_be_bytes()[0]
    };
    let ops: Vec<_> = (0..20_000)
        .map(|_| Op { kind: next(), client: next(), first: next(), second: next() })
        .collect();
    let counts = run::run(&ops, usize::MAX);
    for (what, count) in [
        ("sent", counts.sent),
        ("delivered", counts.delivered),
        ("redelivered", counts.redelivered),
        ("settled", counts.settled),
        ("committed", counts.committed),
        ("receipts", counts.receipts),
        ("errors", counts.errors),
    ] {
        assert!(count >= 200, "only {count} {what}: {counts:?}");
    }
}
