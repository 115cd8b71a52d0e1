//! What is said on standard output.

use std::io::{Write, stdout};

/// Checks so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    passed: u32,
    failed: u32,
}

impl Report {
    pub(crate) fn check(&mut self, name: &str, result: Result<(), String>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(why) => {
                self.failed += 1;
                say(&format!("FAILED {name}: {why}"));
            }
        }
    }

    /// The last line; whether all is well.
    pub(crate) fn end(&self) -> bool {
        say(&format!("{} passed, {} failed", self.passed, self.failed));
        self.failed == 0
    }
}

/// Writes a line.
pub(crate) fn say(line: &str) {
    // Nobody is left to be told when standard output is gone.
    writeln!(stdout(), "{line}").ok();
}
