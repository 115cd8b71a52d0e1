//! The wake protocol of core's outbox under loom: every interleaving of two producers and one
//! driver, over the very file that the broker runs.
//!
//! The model keeps to `outbox/mod.rs`: append under the lock, then raise; whoever raised first
//! looks the waker up and wakes. The driver registers its waker, lowers the flag and takes, under
//! the lock, and does so again only when it was woken. Once the producers are done and no wake is
//! left, it must have everything.

use std::sync::Arc;

use loom::sync::Mutex;
use loom::thread;

/// What the protocol is built from: loom's types instead of the standard library's.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, Ordering};
}

#[path = "../../core/src/outbox/wake.rs"]
mod wake;

use sync::{AtomicBool, Ordering};
use wake::WakeFlag;

const PRODUCERS: usize = 2;

/// Stands for the driver's task: whether the runtime will poll it again.
#[derive(Default)]
struct Waker(AtomicBool);

impl Waker {
    fn wake(&self) {
        // A read-modify-write, as in the wakers of the runtime.
        self.0.swap(true, Ordering::AcqRel);
    }

    fn was_woken(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

#[derive(Default)]
struct Contents {
    events: usize,
    waker: Option<Arc<Waker>>,
}

#[derive(Default)]
struct Outbox {
    flag: WakeFlag,
    contents: Mutex<Contents>,
}

/// When the driver lowers the flag.
#[derive(Clone, Copy)]
enum Lower {
    /// Before it takes, as the protocol wants it.
    BeforeTaking,
    /// Once it has taken: what is appended in between raises a flag that is up already.
    AfterTaking,
}

impl Outbox {
    fn push_and_wake(&self) {
        self.contents.lock().expect("nobody panics").events += 1;
        if self.flag.raise() {
            let waker = self.contents.lock().expect("nobody panics").waker.clone();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn fetch(&self, waker: &Arc<Waker>, lower: Lower) -> usize {
        let taken = {
            let mut contents = self.contents.lock().expect("nobody panics");
            contents.waker = Some(waker.clone());
            if matches!(lower, Lower::BeforeTaking) {
                self.flag.lower();
            }
            std::mem::take(&mut contents.events)
        };
        if matches!(lower, Lower::AfterTaking) {
            self.flag.lower();
        }
        taken
    }
}

/// Producers append one event each; the driver fetches once, and again whenever it is woken.
fn model(lower: Lower) {
    loom::model(move || {
        let outbox = Arc::new(Outbox::default());
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|_| {
                let outbox = outbox.clone();
                thread::spawn(move || outbox.push_and_wake())
            })
            .collect();
        let waker = Arc::new(Waker::default());
        let mut fetched = outbox.fetch(&waker, lower);
        for _ in 0..PRODUCERS {
            if waker.was_woken() {
                fetched += outbox.fetch(&waker, lower);
            }
        }
        for producer in producers {
            producer.join().expect("a producer ends");
        }
        while waker.was_woken() {
            fetched += outbox.fetch(&waker, lower);
        }
        assert_eq!(fetched, PRODUCERS, "a wake is lost");
    });
}

#[test]
fn no_wake_is_lost() {
    model(Lower::BeforeTaking);
}

/// The check is worth something: with the order turned round it finds the lost wake.
#[test]
#[should_panic(expected = "a wake is lost")]
fn lowering_the_flag_after_taking_loses_a_wake() {
    model(Lower::AfterTaking);
}
