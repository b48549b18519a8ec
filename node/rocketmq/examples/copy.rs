//! Copies a topic within one cluster, queue by queue, and prints what that cost: the least that this client takes, to
//! be set against a hand-written loop over bare sockets.
//!
//! `cargo run --release -p causeway-rocketmq --example copy -- NAME_SERVER SOURCE TARGET MESSAGES_PER_QUEUE
//! [BODY_BYTES]` Both topics must exist with the same queues. With BODY_BYTES the source is filled first. One thread;
//! the next pull is under way while a batch is sent.

use std::error::Error;
use std::time::{Duration, Instant};

use causeway_rocketmq::wire::batch::Batch;
use causeway_rocketmq::{Client, ClientSettings, Content, OutgoingBatch, Pull, PullRequest, Queue, SendOutcome};

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name_server, source, target, messages, rest @ ..] = arguments.as_slice() else {
        return Err("usage: copy NAME_SERVER SOURCE TARGET MESSAGES_PER_QUEUE [BODY_BYTES]".into());
    };
    let messages: i64 = messages.parse()?;
    let client = Client::new(ClientSettings::new(vec![name_server.clone()]))?;
    let queues = client.route(source).await?.readable_queues();
    if let [body_bytes, ..] = rest {
        for queue in &queues {
            fill(&client, queue, messages, body_bytes.parse()?).await?;
        }
    }
    client.route(target).await?;
    let (started, before) = (Instant::now(), cpu_seconds()?);
    let mut copies = tokio::task::JoinSet::new();
    for queue in &queues {
        let to = Queue { topic: target.as_str().into(), ..queue.clone() };
        copies.spawn(copy(client.clone(), queue.clone(), to, messages));
    }
    while let Some(copied) = copies.join_next().await {
        copied??;
    }
    let total = messages.saturating_mul(i64::try_from(queues.len())?);
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds()? - before);
    println!("{{\"messages\":{total},\"wall_seconds\":{wall:.3},\"cpu_seconds\":{cpu:.3}}}");
    Ok(())
}

/// User and system time of this process so far. Linux counts it in hundredths of a second.
fn cpu_seconds() -> Result<f64, Failure> {
    let status = std::fs::read_to_string("/proc/self/stat")?;
    let (_, after_name) = status.rsplit_once(") ").ok_or("no process name")?;
    let mut ticks = 0_u32;
    for field in after_name.split(' ').skip(11).take(2) {
        ticks = ticks.saturating_add(field.parse::<u32>()?);
    }
    Ok(f64::from(ticks) / 100.0)
}

async fn fill(client: &Client, queue: &Queue, messages: i64, body_bytes: usize) -> Result<(), Failure> {
    let body = vec![b'x'; body_bytes];
    let mut batch = Batch::new(1 << 20);
    let mut left = messages;
    while left > 0 {
        for _ in 0..left.min(100) {
            batch.push(
                0,
                &body,
                b"KEYS\x01key\x02UNIQ_KEY\x01FD0000000000000000000000000000022A1D4E0E2F2A6F9CB9F40000\x02",
            )?;
            left = left.saturating_sub(1);
        }
        send(client, queue, &mut batch).await?;
    }
    Ok(())
}

async fn send(client: &Client, queue: &Queue, batch: &mut Batch) -> Result<(), Failure> {
    let message = OutgoingBatch::new(Content::Batch(batch.take()), 1_700_000_000_000);
    loop {
        match client.send(queue, message.clone()).await {
            SendOutcome::Stored { .. } => return Ok(()),
            SendOutcome::NotStored(refusal) if !refusal.is_permanent() => {
                tokio::time::sleep(Duration::from_millis(5)).await
            }
            other => return Err(format!("{other:?}").into()),
        }
    }
}

async fn pull(client: &Client, queue: &Queue, offset: i64) -> Result<Pull, Failure> {
    let request = PullRequest { offset, maximum_messages: 32, wait: Duration::from_secs(1) };
    Ok(client.pull(queue, &request).await?)
}

async fn copy(client: Client, from: Queue, to: Queue, messages: i64) -> Result<(), Failure> {
    let mut batch = Batch::new(4 << 20);
    let mut pulled = pull(&client, &from, 0).await?;
    loop {
        let Pull::Found { records, next_offset, .. } = pulled else { return Err(format!("{pulled:?}").into()) };
        for record in &records {
            if !record.verify_crc() {
                return Err(format!("CRC at {}", record.queue_offset).into());
            }
            batch.push(record.flag, &record.body, &record.properties)?;
        }
        drop(records);
        if next_offset >= messages {
            return send(&client, &to, &mut batch).await;
        }
        let (sent, next) = tokio::join!(send(&client, &to, &mut batch), pull(&client, &from, next_offset));
        sent?;
        pulled = next?;
    }
}
