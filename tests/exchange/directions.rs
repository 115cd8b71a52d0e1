//! Every sender with every receiver: nine directions between protocols, sixteen between clients.

use crate::client::{Client, Letter};

/// Bodies that somebody's code trips over.
fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let megabyte: Vec<u8> = (0..1 << 20).map(|at: u32| (at % 251) as u8).collect();
    vec![
        ("text", b"21.5".to_vec()),
        ("NUL octets", b"\0a\0\0b\0".to_vec()),
        ("invalid UTF-8", b"\xff\xfe\x80\xc0".to_vec()),
        ("nothing", Vec::new()),
        ("1 MiB", megabyte),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_in_every_direction_as_they_were_sent() {
    let running = trivium_tests::start().await;
    let mut senders = Client::all(&running, "sender").await;
    let receivers = Client::all(&running, "receiver").await;
    for mut receiver in receivers {
        let address = ["exchange", receiver.name(), "in"];
        receiver.subscribe(&address).await;
        for sender in &mut senders {
            for (name, body) in bodies() {
                let letter = Letter::new(&body);
                sender.publish(&address, &letter).await;
                let says_all = sender.has_properties() && receiver.has_properties();
                let expected = if says_all { letter } else { letter.bare() };
                let received = receiver.receive().await;
                let direction = format!("{name} from {} to {}", sender.name(), receiver.name());
                assert_eq!(received.body.len(), expected.body.len(), "{direction}");
                assert!(received.body == expected.body, "{direction}: the body differs");
                let properties = |letter: &Letter| Letter { body: Vec::new(), ..letter.clone() };
                assert_eq!(properties(&received), properties(&expected), "{direction}");
            }
        }
    }
    drop(senders);
    assert!(running.shutdown().await, "every client leaves at the drain");
}
