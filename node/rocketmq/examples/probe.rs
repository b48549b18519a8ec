//! Prints what a RocketMQ cluster says about itself and about one topic: brokers, limits, route, settings, offsets.
//!
//! `cargo run -p causeway-rocketmq --example probe -- NAME_SERVER[,NAME_SERVER...] [TOPIC]`
//! Credentials come from ROCKETMQ_ACCESS_KEY and ROCKETMQ_SECRET_KEY. Changes nothing.

use std::error::Error;

use causeway_rocketmq::{Client, ClientSettings, Credentials, SlaveReads};
use zeroize::Zeroizing;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let Some(name_servers) = arguments.next() else {
        return Err("usage: probe NAME_SERVER[,NAME_SERVER...] [TOPIC]".into());
    };
    let mut settings = ClientSettings::new(name_servers.split(',').map(str::to_owned).collect());
    settings.slave_reads = SlaveReads::Never;
    if let (Ok(access), Ok(secret)) = (std::env::var("ROCKETMQ_ACCESS_KEY"), std::env::var("ROCKETMQ_SECRET_KEY")) {
        settings.credentials = Some(Credentials::new(&access, &Zeroizing::new(secret), None)?);
    }
    let client = Client::new(settings)?;
    for broker in client.brokers().await? {
        println!(
            "broker {} of {}: master {:?}, slaves {:?}",
            broker.name, broker.cluster, broker.master, broker.slaves
        );
        println!("  limits {:?}", client.broker_limits(&broker.name).await?);
        println!("  runtime {:?}", client.broker_runtime(&broker.name).await?);
    }
    match arguments.next() {
        None => println!("topics {:?}", client.topics().await?),
        Some(topic) => {
            for found in client.topic_settings(&topic).await?.unwrap_or_default() {
                println!("{topic} on {}: {:?}", found.broker, found.settings);
            }
            for queue in client.route(&topic).await?.readable_queues() {
                let (minimum, maximum) = (client.minimum_offset(&queue).await?, client.maximum_offset(&queue).await?);
                println!("{topic} {}/{}: {minimum}..{maximum}", queue.broker, queue.id);
            }
        }
    }
    client.close().await;
    Ok(())
}
