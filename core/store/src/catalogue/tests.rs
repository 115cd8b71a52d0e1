//! What is proposed is there at the next start.

use trivium_core::catalogue::{StoredBinding, StoredExchange, StoredQueue};
use trivium_core::control::Destination;
use trivium_core::{QueueId, Table, Value};

use super::*;

fn arguments() -> Table {
    let nested = Table(vec![("deep".into(), Value::Int(-1, 8))]);
    Table(vec![
        ("x-max-length".into(), Value::Int(10, 4)),
        ("text".into(), Value::text("t")),
        ("array".into(), Value::Array(vec![Value::Void, Value::Bool(true), Value::Double(0.5)])),
        ("table".into(), Value::Table(nested)),
    ])
}

fn exchange(name: &str) -> StoredExchange {
    let (vhost, kind) = ("/".to_owned(), "topic".to_owned());
    let (auto_delete, internal) = (true, false);
    StoredExchange { vhost, name: name.into(), kind, auto_delete, internal, arguments: arguments() }
}

fn queue(name: &str, id: u64) -> StoredQueue {
    let (vhost, name) = ("/".to_owned(), name.to_owned());
    StoredQueue { vhost, name, id: QueueId(id), auto_delete: false, arguments: arguments() }
}

fn binding(source: &str, destination: Destination, key: &str) -> StoredBinding {
    let (vhost, source) = ("/".to_owned(), source.to_owned());
    StoredBinding { vhost, source, destination, key: key.into(), arguments: arguments() }
}

fn to_queue(name: &str) -> Destination {
    Destination::Queue(name.into())
}

fn after(changes: Vec<Change>) -> Stored {
    let directory = std::env::temp_dir().join(format!("trivium-catalogue-{}", name()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("catalogue.redb");
    let (catalogue, stored) = DiskCatalogue::open(&path, |failure| panic!("{failure}")).unwrap();
    assert_eq!(stored, Stored { next_id: 1 << ID_BITS, ..Stored::default() });
    for change in changes {
        catalogue.propose(vec![change]);
    }
    catalogue.close();
    drop(catalogue);
    let (catalogue, stored) = DiskCatalogue::open(&path, |failure| panic!("{failure}")).unwrap();
    catalogue.close();
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(stored.next_id, 2 << ID_BITS, "ids of one run are those of no other");
    stored
}

fn name() -> String {
    let thread = std::thread::current();
    format!("{}-{}", std::process::id(), thread.name().unwrap_or_default().replace("::", "-"))
}

#[test]
fn what_was_put_is_there_at_the_next_start() {
    let (exchange, queue) = (exchange("e"), queue("q", 7));
    let binding = binding("e", to_queue("q"), "a.#");
    let stored = after(vec![
        Change::PutExchange(exchange.clone()),
        Change::PutQueue(queue.clone()),
        Change::PutBinding(binding.clone()),
    ]);
    assert_eq!(stored.exchanges, [exchange]);
    assert_eq!(stored.queues, [queue]);
    assert_eq!(stored.bindings, [binding]);
}

#[test]
fn bindings_go_with_their_ends_and_no_others_do() {
    let kept = binding("e", to_queue("qq"), "k");
    let to_exchange = binding("qq", Destination::Exchange("e".into()), "k");
    let stored = after(vec![
        Change::PutBinding(binding("e", to_queue("q"), "k")),
        Change::PutBinding(binding("gone", to_queue("qq"), "k")),
        Change::PutBinding(binding("e", Destination::Exchange("gone".into()), "k")),
        Change::PutBinding(binding("e", to_queue("qq"), "other")),
        Change::PutBinding(kept.clone()),
        Change::PutBinding(to_exchange.clone()),
        Change::RemoveQueue { vhost: "/".into(), name: "q".into() },
        Change::RemoveExchange { vhost: "/".into(), name: "gone".into() },
        Change::RemoveBinding(binding("e", to_queue("qq"), "other")),
    ]);
    assert_eq!(stored.bindings, [to_exchange, kept]);
}

#[test]
fn a_proposal_is_committed_before_it_is_said_to_be() {
    let directory = std::env::temp_dir().join(format!("trivium-catalogue-{}", name()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("catalogue.redb");
    let (catalogue, _) = DiskCatalogue::open(&path, |failure| panic!("{failure}")).unwrap();
    let number = catalogue.propose(vec![Change::PutQueue(queue("q", 1))]);
    while catalogue.poll_committed(number, Waker::noop()).is_pending() {
        std::thread::yield_now();
    }
    assert_eq!(catalogue.shared.state().committed, 1);
    catalogue.close();
    std::fs::remove_dir_all(&directory).unwrap();
}
