//! A data directory that cannot be used as it is: damaged, or of another version.

use std::path::PathBuf;

use lapin::options::ConfirmSelectOptions;

use crate::program::{FREE_PORTS, run};
use crate::restart::{Folder, connect, declare, drain, publish};

/// Three confirmed numbers in the queue, and a broker that ended in order.
async fn filled() -> Folder {
    let folder = Folder::new();
    let mut program = folder.start();
    let channel = connect(&mut program).await;
    declare(&channel).await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms are on");
    for number in [71_001, 71_002, 71_003] {
        assert!(publish(&channel, number).await, "{number} is confirmed");
    }
    program.terminate();
    assert_eq!(program.exit_code(), Some(0));
    folder
}

/// The one segment of the log, and its bytes.
fn segment(folder: &Folder) -> (PathBuf, Vec<u8>) {
    let entries = folder.path().join("log").read_dir().expect("there is a log");
    let names = entries.map(|entry| entry.expect("it is readable").path());
    let segments = names.filter(|path| path.extension().is_some_and(|kind| kind == "segment"));
    let holding = segments.map(|path| (path.clone(), std::fs::read(&path).expect("readable")));
    let mut holding = holding.filter(|(_, bytes)| find(bytes, b"71002").is_some());
    holding.next().expect("a segment holds what was published")
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Starts it on `folder`, sees it end with 2, and returns the last line it wrote.
fn refusal(folder: &Folder, more: &[&str]) -> String {
    let data = folder.argument();
    let output = run(&[FREE_PORTS, &[&data], more].concat(), &[]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    text.lines().last().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_reported_and_passed_over_only_when_told() {
    let folder = filled().await;
    let (path, mut bytes) = segment(&folder);
    let at = find(&bytes, b"71002").expect("it was published");
    bytes[at] = b'9';
    std::fs::write(&path, &bytes).expect("it is ours");

    let line = refusal(&folder, &[]);
    let name = path.file_name().and_then(|name| name.to_str()).expect("it has a name");
    let (_, behind) = line.split_once("damaged at offset ").expect("it says where");
    let (offset, _) = behind.split_once(';').expect("and goes on");
    let offset: usize = offset.parse().expect("an offset is a number");
    assert!((64..at).contains(&offset), "the record with byte {at} begins at {offset}: {line}");
    let copy = format!("{name}.damaged-at-{offset}");
    for part in [name, &copy, "--accept-loss"] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    let kept = std::fs::read(path.with_file_name(&copy)).expect("there is a copy");
    assert_eq!(kept, bytes, "as it was found");

    let mut program = folder.start_with(&["--accept-loss"], &[]);
    program.find("of the damage", |line| line["file"] == name && line["offset"] == offset);
    program.find("of the loss", |line| line["messages"] == 1);
    let channel = connect(&mut program).await;
    let taken: Vec<u32> = drain(&channel).await.into_iter().map(|(number, _)| number).collect();
    assert_eq!(taken, [71_001, 71_003]);
    program.terminate();
    assert_eq!(program.exit_code(), Some(0));

    // Accepted once.
    folder.start();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_format_is_refused_whatever_is_accepted() {
    let folder = filled().await;
    let format = folder.path().join("format");
    std::fs::write(&format, "trivium 2\n").expect("it is ours");
    let line = refusal(&folder, &["--accept-loss"]);
    for part in ["trivium 2", "trivium 1", folder.path().to_str().expect("UTF-8")] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    std::fs::write(&format, "trivium 1\n").expect("it is ours");
    let mut program = folder.start();
    let channel = connect(&mut program).await;
    let taken: Vec<u32> = drain(&channel).await.into_iter().map(|(number, _)| number).collect();
    assert_eq!(taken, [71_001, 71_002, 71_003], "nothing was touched");
}
