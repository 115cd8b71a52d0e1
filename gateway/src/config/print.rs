//! The commented reference configuration, with the values in force.

use std::fmt::Write as _;

use toml::{Table, Value};

use super::RawConfig;
use super::users::GUEST;

/// The reference with its default values; the only place that explains the keys to a user.
pub(super) const REFERENCE: &str = include_str!("reference.toml");

/// What is printed instead of a password.
const MASK: &str = "***";

/// Replaces each value of the reference by the one in `raw`, and adds its users and vhosts.
pub(super) fn print(raw: &RawConfig) -> String {
    let mut raw = raw.clone();
    mask(&mut raw.default_pass);
    raw.users.iter_mut().for_each(|user| mask(&mut user.password));
    let table = Table::try_from(&raw).expect("a configuration is a table of plain values");
    let mut section: Option<&Table> = None;
    let mut out = String::with_capacity(REFERENCE.len() * 2);
    for line in REFERENCE.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = table.get(name).and_then(Value::as_table);
        }
        let key = line.split_once(" = ").map(|(key, _)| key);
        let value = key.and_then(|key| section.unwrap_or(&table).get(key));
        match (key, value) {
            (Some(key), Some(value)) => line_of(&mut out, key, value),
            _ => line_of_text(&mut out, line),
        }
    }
    for name in ["users", "vhosts", "policies", "operator_policies"] {
        for entry in table.get(name).and_then(Value::as_array).into_iter().flatten() {
            line_of_text(&mut out, &format!("\n[[{name}]]"));
            for (key, value) in entry.as_table().into_iter().flatten() {
                line_of(&mut out, key, value);
            }
        }
    }
    out
}

fn mask(password: &mut String) {
    if !password.is_empty() && password != GUEST {
        MASK.clone_into(password);
    }
}

fn line_of(out: &mut String, key: &str, value: &Value) {
    writeln!(out, "{key} = {value}").expect("a string takes every write");
}

fn line_of_text(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}
