//! S-1 to S-4: the log on a disk that lies, against a model.
//!
//! A run appends, settles, requeues and steps; the disk fails at some operation, or the power goes;
//! what is found afterwards must be what a prefix of the appended records makes, and that prefix
//! must have everything that was said to be durable. Then the next run goes on from there.
//!
//! `full` runs the disk full, `bound` says how much of it is taken, `damage` changes what it holds, `format` reads what an
//! earlier version wrote.
//!
//! `TRIVIUM_CRASH_SEEDS=20000 cargo test -p trivium-store --test crash` runs more seeds; a failure
//! names its seed, and `TRIVIUM_CRASH_FIRST_SEED` begins there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bound;
mod damage;
mod format;
mod full;
mod model;
mod run;

use run::Run;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().expect("a number"))
}

#[test]
fn what_was_durable_survives_a_crash_at_any_operation() {
    let first = number("TRIVIUM_CRASH_FIRST_SEED", 0);
    let mut seen = run::Seen::default();
    for seed in first..first + number("TRIVIUM_CRASH_SEEDS", 150) {
        Run::new(seed).generations(4, &mut seen);
    }
    if first == 0 {
        assert!(seen.lost_records > 0, "some crashes lose what was not synced: {seen:?}");
        assert!(seen.old_segments > 0, "survivors moved: {seen:?}");
        assert!(seen.transactions > 0, "transactions were durable: {seen:?}");
        assert!(seen.failed_opens > 0, "a start was cut short: {seen:?}");
    }
}
