//! Which test names which statement: read from the sources, where a doc comment precedes its test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Tests by the statement they name, each as `file::test`.
pub(crate) type Proofs = BTreeMap<String, Vec<String>>;

/// Where tests are that prove something.
const FOLDERS: &[&str] = &["protocols/mqtt/src/connection/tests", "gateway/tests", "tests/wire"];

/// Reads all of them.
pub(crate) fn find(root: &Path) -> Proofs {
    let mut proofs = Proofs::new();
    for folder in FOLDERS {
        for file in sources(&root.join(folder)) {
            let text = std::fs::read_to_string(&file).expect("a source is readable");
            let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            read(&text, &stem, &mut proofs);
        }
    }
    proofs
}

/// The Rust files below `folder`, in the order of their names.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().expect("a folder of tests is readable") {
            let path = entry.expect("a folder of tests is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Names in doc comments count for the function below, if that is a test.
fn read(text: &str, stem: &str, proofs: &mut Proofs) {
    let mut named: Vec<String> = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("///") {
            named.extend(names(line));
        } else if line.starts_with("#[") {
            is_test |= line.contains("test");
        } else {
            let function = line
                .strip_prefix("async ")
                .unwrap_or(line)
                .strip_prefix("fn ")
                .and_then(|rest| rest.split('(').next());
            if let Some(function) = function {
                let place = format!("{stem}::{function}");
                assert!(is_test || named.is_empty(), "{place} names statements and is no test");
                for name in named.drain(..) {
                    let places = proofs.entry(name).or_default();
                    if !places.contains(&place) {
                        places.push(place.clone());
                    }
                }
            }
            named.clear();
            is_test = false;
        }
    }
}

/// The statements that a line names.
fn names(line: &str) -> impl Iterator<Item = String> {
    line.split('[').skip(1).filter_map(|part| {
        let name = part.split(']').next()?;
        let is_name = name.starts_with("MQTT5-") || name.starts_with("MQTT311-");
        is_name.then(|| name.to_owned())
    })
}

#[test]
fn names_are_read_from_doc_comments_of_tests() {
    let mut proofs = Proofs::new();
    let source = "/// [MQTT5-1.2.3-4] and\n/// [MQTT311-1.2.3-5] [other]\n#[test]\nfn one() {\n\
                  // [MQTT5-9.9.9-9]\n}\n/// [MQTT5-1.2.3-4]\n#[tokio::test]\nasync fn two() {}\n";
    read(source, "file", &mut proofs);
    assert_eq!(proofs["MQTT5-1.2.3-4"], ["file::one", "file::two"]);
    assert_eq!(proofs["MQTT311-1.2.3-5"], ["file::one"]);
    assert_eq!(proofs.len(), 2);
}
