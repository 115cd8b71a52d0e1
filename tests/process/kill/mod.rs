//! Killed with SIGKILL at random moments under a load of all three protocols, again and again.
//!
//! Reading order: [`load`] (the clients, and what they were promised),
//! [`verify`] (what must be there after that). Five kills by default, `TRIVIUM_KILLS=50` for a long run:
//!
//! ```sh
//! TRIVIUM_KILLS=50 cargo test --release -p trivium-tests --test process kill -- --nocapture
//! ```
//!
//! SIGKILL leaves the operating system with all that was written, so this says nothing of syncs: `proof`
//! does.

mod load;
mod verify;

use std::io::Write;
use std::time::Duration;

use crate::restart::Folder;

/// From a third of a second on: clients have logged in by then, wherever they are.
const SHORTEST: Duration = Duration::from_millis(300);

#[test]
fn nothing_promised_is_lost_by_kills_under_mixed_load() {
    let kills = std::env::var("TRIVIUM_KILLS").ok();
    let kills: u64 = kills.map_or(5, |kills| kills.parse().expect("a number of kills"));
    let folder = Folder::new();
    let mut promised = load::Promised::default();
    let mut total = 0;
    for round in 0..kills {
        let mut program = folder.start();
        let doors = ["amqp", "mqtt", "stomp"].map(|listener| program.address(listener));
        load::declare_all(doors[0]);
        let load = load::start(doors, &promised);
        // Where in its work it is hit differs by itself; this spreads it over checkpoints, too.
        std::thread::sleep(SHORTEST + Duration::from_millis(round * 2_654_435_761 % 400));
        program.kill();
        promised = load.end(promised);

        let mut program = folder.start();
        let line = program.line("recovered");
        let amqp = program.address("amqp");
        let found = verify::take_all(amqp);
        verify::check(&promised, &found, round);
        let count: usize = found.values().map(Vec::len).sum();
        total += count;
        let said = format!("kill {round}: {} promised, {count} found, {line}\n", promised.count());
        // Past the harness, which shows nothing of tests that pass.
        std::io::stdout().write_all(said.as_bytes()).ok();
        promised = promised.forget(&found);
        if round % 2 == 0 {
            program.terminate();
            assert_eq!(program.exit_code(), Some(0));
        } else {
            // What was taken just now was acknowledged in a transaction: it does not come back.
            program.kill();
        }
    }
    assert!(total > 0, "there was a load");
}
