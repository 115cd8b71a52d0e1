//! what lies where, and what may not stand in it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::root;

/// what the top of the repository holds. Dotfiles and what git ignores come on top.
const TOP: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "core",
    "examples",
    "gateway",
    "protocols",
    "tests",
];

/// lines of hand-written Rust in one file before it owes a reason.
const LINES_MAX: usize = 600;

/// The reason that A-5 asks for, as a comment among the first lines of the file.
const LONG_REASON: &str = "Longer than 600 lines because ";

/// in no source file. Split, so that this one does not hold them.
const UNFINISHED: &[&str] = &[
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
];

/// roots of paths that exist on one machine only; in no file of ours.
const MACHINE_PATHS: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

/// what a path may stand in. Lock files of other ecosystems hold whatever they hold.
const TEXT: &[&str] =
    &["css", "html", "js", "json", "md", "mjs", "py", "rs", "sh", "toml", "trace", "txt", "yml"];

/// Folders that are built or fetched, not written.
const NOT_OURS: &[&str] = &[".git", "node_modules", "target", "trivium-data", "__pycache__"];

#[test]
fn the_top_holds_only_the_rooms() {
    let ignored = fs::read_to_string(root().join(".gitignore")).expect("there is a .gitignore");
    let ignored: Vec<_> = ignored.lines().map(|line| line.trim_matches('/')).collect();
    for entry in fs::read_dir(root()).expect("the root is readable") {
        let name = entry.expect("the root is readable").file_name();
        let name = name.to_string_lossy();
        assert!(
            name.starts_with('.') || TOP.contains(&&*name) || ignored.contains(&&*name),
            "A-4: {name} does not belong at the top of the repository"
        );
    }
}

#[test]
fn a_long_file_says_why() {
    for (path, text) in rust_files("") {
        let lines = text.lines().count();
        let has_reason = text.lines().take(60).any(|line| line.contains(LONG_REASON));
        assert!(
            lines <= LINES_MAX || has_reason,
            "A-5: {path} has {lines} lines; split it, or say \"{LONG_REASON}...\" at its top"
        );
    }
}

#[test]
fn nothing_is_left_unfinished() {
    for (path, text) in rust_files("") {
        for (number, line) in text.lines().enumerate() {
            let found: Vec<_> = UNFINISHED.iter().filter(|&&mark| line.contains(mark)).collect();
            assert!(found.is_empty(), "A-6: {path}:{} has {found:?}", number + 1);
        }
    }
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    for path in files(&root()) {
        let shown = path.strip_prefix(root()).expect("files lie below the root").display();
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        let Some(text) =
            TEXT.contains(&&*extension).then(|| fs::read_to_string(&path).ok()).flatten()
        else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            let found = MACHINE_PATHS.iter().find(|mark| begins_a_path(line, mark));
            assert!(found.is_none(), "A-6: {shown}:{} has {found:?}", number + 1);
        }
    }
}

/// Whether `mark` stands in `line` as the beginning of a path, not in the middle of another.
fn begins_a_path(line: &str, mark: &str) -> bool {
    line.match_indices(mark).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|before| !before.is_alphanumeric() && !"/._-}>*".contains(before))
    })
}

/// each protocol answers every refusal, in one match that a new refusal breaks.
#[test]
fn every_protocol_has_an_answer_to_every_refusal() {
    let core = fs::read_to_string(root().join("core/src/refusal.rs")).expect("core has refusals");
    let variants = variants(&core, "pub enum Refusal {");
    assert!(variants.len() > 10, "A-7: read only {variants:?} out of refusal.rs");
    for protocol in ["amqp", "mqtt", "stomp"] {
        let sources = rust_files(&format!("protocols/{protocol}/src"));
        let is_table = |block: &&str| {
            variants.iter().all(|variant| block.contains(&format!("Refusal::{variant}")))
        };
        let tables: Vec<_> = sources
            .iter()
            .flat_map(|(path, text)| blocks(text, "match refusal {").map(move |b| (path, b)))
            .filter(|(_, block)| is_table(block))
            .collect();
        assert!(!tables.is_empty(), "A-7: {protocol} has no table of all refusals");
        for (path, block) in tables {
            let wildcard = block.lines().map(str::trim_start).find(|line| {
                line.starts_with("_ =>") || line.starts_with("_ if ") || line.starts_with("| _")
            });
            assert!(wildcard.is_none(), "A-7: {path} hides new refusals behind {wildcard:?}");
        }
    }
}

/// The blocks of `text` that begin with `head`, up to the brace that closes them.
fn blocks<'a>(text: &'a str, head: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(head).map(move |(at, _)| {
        let block = &text[at..];
        let mut depth = 0_i32;
        let end = block.char_indices().find(|&(_, c)| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            c == '}' && depth == 0
        });
        end.map_or(block, |(end, _)| &block[..=end])
    })
}

/// The names of an enum's variants, read off its indentation.
fn variants(text: &str, head: &str) -> Vec<String> {
    let block = blocks(text, head).next().unwrap_or_default();
    let names = block.lines().filter_map(|line| line.strip_prefix("    "));
    let names = names.filter(|line| line.starts_with(char::is_uppercase));
    names.map(|line| line.chars().take_while(|c| c.is_alphanumeric()).collect()).collect()
}

/// Every Rust file below `folder` of the repository, with its path from the root and its text.
pub(crate) fn rust_files(folder: &str) -> Vec<(String, String)> {
    let all = files(&root().join(folder)).into_iter();
    all.filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("sources are UTF-8");
            let shown = path.strip_prefix(root()).expect("files lie below the root");
            (shown.display().to_string(), text)
        })
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of ours is readable") {
            let path = entry.expect("a folder of ours is readable").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && !NOT_OURS.contains(&&*name) {
                folders.push(path);
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
