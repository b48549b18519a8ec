//! Runs every request of the client once against a real cluster and prints the answers: what to look at when a new
//! broker version comes out.
//!
//! `cargo run -p causeway-rocketmq --example exercise -- NAME_SERVER TOPIC`
//! Credentials come from ROCKETMQ_ACCESS_KEY and ROCKETMQ_SECRET_KEY. Creates the topic if it is missing and writes to
//! it.

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use causeway_rocketmq::wire::batch::Batch;
use causeway_rocketmq::{
    Client, ClientSettings, Content, Credentials, OutgoingBatch, Pull, PullRequest, Queue, TopicSettings,
};
use zeroize::Zeroizing;

const QUEUES: u32 = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(name_server), Some(topic)) = (arguments.next(), arguments.next()) else {
        return Err("usage: exercise NAME_SERVER TOPIC".into());
    };
    let mut settings = ClientSettings::new(vec![name_server]);
    if let (Ok(access), Ok(secret)) = (std::env::var("ROCKETMQ_ACCESS_KEY"), std::env::var("ROCKETMQ_SECRET_KEY")) {
        settings.credentials = Some(Credentials::new(&access, &Zeroizing::new(secret), None)?);
    }
    let client = Client::new(settings)?;
    topics(&client, &topic).await;
    let route = client.route(&topic).await?;
    let Some(queue) = route.writable_queues().pop() else { return Err("the topic has no queue".into()) };
    let start = client.maximum_offset(&queue).await?;
    println!("offsets {:?} {:?}", client.minimum_offset(&queue).await, start);
    sends(&client, &queue).await?;
    pulls(&client, &queue, start).await;
    groups(&client, &queue).await;
    client.close().await;
    Ok(())
}

async fn topics(client: &Client, topic: &str) {
    println!("route before {:?}", client.route(topic).await);
    println!("settings before {:?}", client.topic_settings(topic).await);
    println!("create {:?}", client.create_topic(topic, &TopicSettings::with_queues(QUEUES)).await);
    println!("settings after {:?}", client.topic_settings(topic).await);
    println!("route after {:?}", client.refresh_route(topic).await);
    for broker in client.brokers().await.unwrap_or_default() {
        println!("limits {:?}", client.broker_limits(&broker.name).await);
        println!("dispatch behind {:?}", client.dispatched(&broker.name).await);
    }
}

fn single(body: &'static [u8]) -> OutgoingBatch {
    let properties = Bytes::from_static(b"KEYS\x01key\x02own\x01value\x02");
    OutgoingBatch::new(Content::Single { body: Bytes::from_static(body), properties, flag: 9 }, 1_700_000_000_123)
}

async fn sends(client: &Client, queue: &Queue) -> Result<(), Box<dyn Error>> {
    let mut batch = Batch::new(4 << 20);
    for body in [&b"first"[..], b"", b"third"] {
        batch.push(5, body, b"KEYS\x01key\x02own\x01value\x02")?;
    }
    let message = OutgoingBatch::new(Content::Batch(batch.take()), 1_700_000_000_456);
    println!("connect {:?}", client.connect_for_send(queue).await);
    println!("send batch {:?}", client.send(queue, message).await);
    println!("send single {:?}", client.send(queue, single(b"alone")).await);
    println!(
        "send single again {:?}",
        client.send(queue, OutgoingBatch { reconsume_times: 2, ..single(b"again") }).await
    );
    println!("send empty single {:?}", client.send(queue, single(b"")).await);
    let mut large = Batch::new(16 << 20);
    large.push(0, &vec![b'x'; 5 << 20], b"")?;
    println!("send too large {:?}", client.send(queue, OutgoingBatch::new(Content::Batch(large.take()), 0)).await);
    println!("send to no queue {:?}", client.send(&Queue { id: 99, ..queue.clone() }, single(b"x")).await);
    println!("generation {}", client.connection_generation(queue));
    Ok(())
}

async fn pulls(client: &Client, queue: &Queue, start: i64) {
    let request = PullRequest { offset: start, maximum_messages: 32, wait: Duration::ZERO };
    // Dispatch is asynchronous: what was just stored may take a moment to be seen.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let pulled = client.pull(queue, &request).await;
    println!("pull {pulled:#?}");
    let Ok(Pull::Found { records, next_offset, .. }) = pulled else { return };
    for record in &records {
        println!("crc of {} right: {}", record.queue_offset, record.verify_crc());
    }
    for (name, offset) in [("tail", next_offset), ("beyond", next_offset.saturating_add(1000)), ("negative", -1)] {
        println!("pull {name} {:?}", client.pull(queue, &PullRequest { offset, ..request }).await);
    }
    println!("pull no queue {:?}", client.pull(&Queue { id: 99, ..queue.clone() }, &request).await);
    let waiting = PullRequest { offset: next_offset, wait: Duration::from_secs(2), ..request };
    println!("pull with a wait {:?}", client.pull(queue, &waiting).await);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    println!("offset at 0 {:?}, at now {:?}", client.offset_at(queue, 0).await, client.offset_at(queue, now).await);
}

async fn groups(client: &Client, queue: &Queue) {
    println!("group offset {:?}", client.group_offset(queue, "exercise").await);
    println!("set group offset {:?}", client.set_group_offset(queue, "exercise", 1).await);
}
