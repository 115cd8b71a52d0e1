//! Throws octets and operations at the STOMP adapter and the real core, in this process, on a stable
//! compiler.
//!
//! ```sh
//! cargo run --release -p trivium-tests --bin fuzz_stomp -- --target framer --seconds 60
//! cargo run --release -p trivium-tests --bin fuzz_stomp -- --target operations --seed 4711 --rounds 1
//! ```
//!
//! `framer`: frames of any headers and bodies, coded by a coder of its own, come back as they were sent;
//! damaged ones end the same way whole and in pieces. `operations`: the model of the adapter's tests
//! (`protocols/stomp/tests/model`), any sequence of frames. Each round is one seed. A finding is a panic
//! or a round that does not end; it ends with status 1 at the first, and says which seed repeats it.

mod framer;

#[path = "../hostile/random.rs"]
#[allow(dead_code, reason = "the other fuzzers use the rest")]
mod random;

/// The adapter's own model.
#[path = "../../../../protocols/stomp/tests/model/frames.rs"]
mod frames;
#[path = "../../../../protocols/stomp/tests/model/model.rs"]
mod model;
#[path = "../../../../protocols/stomp/tests/model/run.rs"]
mod run;

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use random::Random;
use run::Op;

/// A round takes milliseconds; one that takes this long does not end.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
enum Target {
    Framer,
    Operations,
}

struct Settings {
    target: Target,
    span: Duration,
    seed: u64,
    rounds: u64,
}

impl Settings {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut settings = Self {
            target: Target::Framer,
            span: Duration::from_secs(10),
            seed: now.as_secs() << 20,
            rounds: u64::MAX,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            let number = || value.parse().map_err(|_| format!("{name} {value}: not a number"));
            match &*name {
                "--target" => {
                    settings.target = match &*value {
                        "framer" => Target::Framer,
                        "operations" => Target::Operations,
                        _ => return Err(format!("unknown target {value}")),
                    }
                }
                "--seconds" => settings.span = Duration::from_secs(number()?),
                "--seed" => settings.seed = number()?,
                "--rounds" => settings.rounds = number()?,
                _ => return Err(format!("unknown argument {name}")),
            }
        }
        Ok(settings)
    }
}

fn main() -> ExitCode {
    match Settings::read(std::env::args().skip(1)) {
        Ok(settings) if run_all(&settings) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("fuzz_stomp: {error}"));
            ExitCode::from(2)
        }
    }
}

fn run_all(settings: &Settings) -> bool {
    let target = settings.target;
    say(&format!("{target:?}, seed {}", settings.seed));
    let current = Arc::new(AtomicU64::new(settings.seed));
    watch(current.clone());
    let start = Instant::now();
    let (mut rounds, mut frames) = (0, 0);
    while rounds < settings.rounds && start.elapsed() < settings.span {
        let seed = settings.seed.wrapping_add(rounds);
        current.store(seed, Ordering::Relaxed);
        let played = catch_unwind(AssertUnwindSafe(|| play(target, Random::new(seed))));
        let Ok(count) = played else {
            say(&format!("finding: repeat it with --seed {seed} --rounds 1"));
            return false;
        };
        frames += count;
        rounds += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    say(&format!("{rounds} rounds in {seconds:.1} s, {frames} frames, no finding"));
    true
}

fn play(target: Target, mut random: Random) -> usize {
    match target {
        Target::Framer => framer::play(&mut random),
        Target::Operations => {
            let count = random.between(1, 400);
            let mut op = || Op {
                kind: random.octet(),
                client: random.octet(),
                first: random.octet(),
                second: random.octet(),
            };
            let ops: Vec<_> = (0..count).map(|_| op()).collect();
            let chunk_len = *random.pick(&[usize::MAX, usize::MAX, 1, 7, 64]);
            run::run(&ops, chunk_len);
            count
        }
    }
}

/// Ends the process when a round does not.
fn watch(current: Arc<AtomicU64>) {
    thread::spawn(move || {
        let mut before = None;
        loop {
            thread::sleep(PATIENCE);
            let seed = current.load(Ordering::Relaxed);
            if before == Some(seed) {
                say(&format!("finding: it does not end\nrepeat it with --seed {seed} --rounds 1"));
                std::process::exit(1);
            }
            before = Some(seed);
        }
    });
}

fn say(text: &str) {
    writeln!(io::stdout(), "{text}").ok();
}
