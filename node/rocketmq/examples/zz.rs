use causeway_rocketmq::*;
use std::time::Duration;
#[tokio::main(flavor = "current_thread")]
async fn main() {
    for cert in [true, false] {
        for ca in ["ca.pem", "s.pem"] {
            for tls in [true, false] {
                let client = Client::new(ClientSettings {
                    request_timeout: Duration::from_secs(3),
                    tls: tls.then(|| TlsSettings {
                        trust: Trust::AuthorityFile(format!("/tmp/rmq/tls/{ca}").into()),
                        server_name: None,
                        client_certificate: cert.then(|| ClientCertificate {
                            chain: "/tmp/rmq/tls/c.pem".into(),
                            key: "/tmp/rmq/tls/c8.key".into(),
                        }),
                    }),
                    ..ClientSettings::new(vec!["127.0.0.1:19876".into()])
                })
                .unwrap();
                println!(
                    "cert {cert} ca {ca} tls {tls}: create {:?}",
                    client.create_topic("tt", &TopicSettings::with_queues(1)).await
                );
                let q = Queue { topic: "tt".into(), broker: "b".into(), id: 0 };
                let s = client
                    .send(
                        &q,
                        OutgoingBatch::new(
                            Content::Single {
                                body: vec![7; 3_000_000].into(),
                                properties: bytes::Bytes::new(),
                                flag: 0,
                            },
                            1,
                        ),
                    )
                    .await;
                println!("   send {s:?} gen {}", client.connection_generation(&q));
                tokio::time::sleep(Duration::from_millis(300)).await;
                let r = client
                    .pull(&q, &PullRequest { offset: 0, maximum_messages: 4, wait: Duration::from_secs(1) })
                    .await;
                println!("   pull {}", format!("{r:?}").chars().filter(|c| *c != 'x').take(200).collect::<String>());
            }
        }
    }
}
