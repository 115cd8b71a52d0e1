//! Confirmed publishes a second, for sizes, windows and numbers of publishers, and the rate at which
//! the same disk syncs.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::client::{Client, Said, message};
use crate::{Settings, per_second, say};

/// Before counting begins.
const WARM_UP: Duration = Duration::from_millis(500);

/// What is written before each sync when the disk is measured.
const SYNCED_BYTES: usize = 4096;

pub(crate) fn run(settings: &Settings) -> io::Result<()> {
    let folder = settings.data.parent().unwrap_or_else(|| Path::new("."));
    let broker = Broker::start(&settings.broker, &settings.data)?;
    say(
        "| body | publishers | window | confirmed a second | syncs a second of the disk | CPU of the broker, us a message |",
    );
    say("|---|---|---|---|---|---|");
    for bytes in [16, 1024] {
        for publishers in [1, 10, 100] {
            for window in [1, 100, 1000] {
                let syncs = syncs_a_second(folder, settings.span / 3)?;
                let (rate, cpu) = measure(&broker, settings.span, (bytes, publishers, window))?;
                let (whole, tenth) = (cpu.as_nanos() / 1000, cpu.as_nanos() / 100 % 10);
                say(&format!(
                    "| {bytes} B | {publishers} | {window} | {rate} | {syncs} | {whole}.{tenth} |"
                ));
            }
        }
    }
    Ok(())
}

/// How often the disk syncs a block that was written behind the last one.
fn syncs_a_second(folder: &Path, span: Duration) -> io::Result<u64> {
    let path = folder.join(format!("durability-{}", std::process::id()));
    let file = File::create(&path)?;
    // Space taken before, as the log has it.
    file.write_all_at(&vec![0; 32 * 1024 * 1024], 0)?;
    file.sync_all()?;
    let (start, mut count) = (Instant::now(), 0u64);
    while start.elapsed() < span {
        file.write_all_at(&[7; SYNCED_BYTES], count % 8192 * SYNCED_BYTES as u64)?;
        file.sync_data()?;
        count += 1;
    }
    let rate = per_second(count, start.elapsed());
    std::fs::remove_file(path)?;
    Ok(rate)
}

/// Confirms a second, and the broker's CPU for each.
fn measure(
    broker: &Broker,
    span: Duration,
    (bytes, publishers, window): (usize, u64, u64),
) -> io::Result<(u64, Duration)> {
    let mut control = Client::connect(&broker.address)?;
    control.declare("rates")?;
    let message = message("rates", &vec![b'x'; bytes]);
    let (confirmed, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let result = thread::scope(|scope| {
        let mut workers = Vec::new();
        for _ in 0..publishers {
            let mut client = Client::connect(&broker.address)?;
            client.confirm()?;
            let (message, confirmed, stop) = (&message, &confirmed, &stop);
            workers.push(scope.spawn(move || publish(client, message, window, confirmed, stop)));
        }
        thread::sleep(WARM_UP);
        let (start, cpu) = (Instant::now(), broker.cpu_time()?);
        let before = confirmed.load(Ordering::Relaxed);
        thread::sleep(span);
        let count = confirmed.load(Ordering::Relaxed) - before;
        let (elapsed, cpu) = (start.elapsed(), broker.cpu_time()?.saturating_sub(cpu));
        stop.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.join().map_err(|_| io::Error::other("a publisher panicked"))??;
        }
        let each = cpu / u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        Ok::<_, io::Error>((per_second(count, elapsed), each))
    });
    // What is left is not to weigh on the next one.
    control.send(&crate::client::method(50, 30, b"\0\0\x05rates\0"))?;
    result
}

/// Publishes, at most `window` ahead of its confirms, until told to stop.
fn publish(
    mut client: Client,
    message: &[u8],
    window: u64,
    confirmed: &AtomicU64,
    stop: &AtomicBool,
) -> io::Result<()> {
    let (mut sent, mut through) = (0u64, 0u64);
    while !stop.load(Ordering::Relaxed) || through < sent {
        if !stop.load(Ordering::Relaxed) && sent - through < window {
            let count = window - (sent - through);
            client.send(&message.repeat(usize::try_from(count).expect("a small window")))?;
            sent += count;
        }
        let before = through;
        client.read(|said| {
            if let Said::Confirmed(tag) = said {
                through = through.max(tag);
            }
        })?;
        confirmed.fetch_add(through - before, Ordering::Relaxed);
    }
    Ok(())
}
