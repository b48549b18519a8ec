//! The floor of the benchmark: the least work that copies a topic through a stock broker.
//!
//! One thread per queue, blocking sockets, hand-written JSON headers, no library of ours but ten lines of framing. It
//! pulls the 32 messages that a broker returns at most, copies flag, body and properties of each into a batch, sends
//! the batch, and meanwhile the next pull is already on its way. It has no checkpoint, no checksum, no provenance, no
//! recovery and no metrics: it is what the product is compared with, not something to use.
//!
//! `causeway-floor BROKER SOURCE_TOPIC TARGET_TOPIC QUEUES MESSAGES_PER_QUEUE`; prints wall and CPU seconds as JSON.

use std::net::TcpStream;
use std::time::Instant;

use causeway_tests::bench::raw::{connect, cpu_seconds, integer, parse, read_frame, write_frame};

/// Bytes of a stored record in front of its body, with IPv4 hosts.
const BEFORE_BODY: usize = 88;
/// What sysFlag bit 0x10 and 0x20 (IPv6 hosts) would add; the benchmark's producer connects over IPv4.
const IPV6_BITS: i32 = 0x30;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [broker, source, target, queues, messages] = arguments.as_slice() else {
        eprintln!("usage: causeway-floor BROKER SOURCE_TOPIC TARGET_TOPIC QUEUES MESSAGES_PER_QUEUE");
        std::process::exit(2);
    };
    let queues: u32 = queues.parse().expect("QUEUES is a number");
    let messages: i64 = messages.parse().expect("MESSAGES_PER_QUEUE is a number");
    let started = Instant::now();
    std::thread::scope(|scope| {
        for queue in 0..queues {
            scope.spawn(move || Copier::connect(broker, source, target, queue).run(messages));
        }
    });
    let wall = started.elapsed().as_secs_f64();
    let total = messages * i64::from(queues);
    println!("{{\"messages\":{total},\"wall_seconds\":{wall:.3},\"cpu_seconds\":{:.3}}}", cpu_seconds());
}

struct Copier {
    pull: TcpStream,
    send: TcpStream,
    source: String,
    target: String,
    queue: u32,
    opaque: u32,
}

impl Copier {
    fn connect(broker: &str, source: &str, target: &str, queue: u32) -> Self {
        Self {
            pull: connect(broker),
            send: connect(broker),
            source: source.into(),
            target: target.into(),
            queue,
            opaque: 0,
        }
    }

    fn run(mut self, messages: i64) {
        let mut offset = 0;
        let (mut page, mut answer, mut batch) = (Vec::new(), Vec::new(), Vec::new());
        self.ask(offset);
        while offset < messages {
            read_frame(&mut self.pull, &mut page);
            let (code, body) = parse(&page);
            if code != 0 {
                self.ask(offset);
                continue;
            }
            batch.clear();
            let count = collect(&page[body..], &mut batch);
            offset += count;
            if offset < messages {
                self.ask(offset);
            }
            self.write_batch(&batch);
            read_frame(&mut self.send, &mut answer);
            let (code, _) = parse(&answer);
            assert_eq!(code, 0, "the target refused a batch: {}", String::from_utf8_lossy(&answer));
        }
    }

    fn ask(&mut self, offset: i64) {
        self.opaque += 1;
        let header = format!(
            "{{\"code\":11,\"language\":\"CPP\",\"version\":401,\"opaque\":{},\"flag\":0,\"extFields\":{{\"consumerGroup\":\
             \"CID_RMQ_SYS_FLOOR\",\"topic\":\"{}\",\"queueId\":\"{}\",\"queueOffset\":\"{offset}\",\"maxMsgNums\":\"32\",\
             \"sysFlag\":\"6\",\"commitOffset\":\"0\",\"suspendTimeoutMillis\":\"5000\",\"subscription\":\"*\",\
             \"subVersion\":\"0\",\"expressionType\":\"TAG\"}}}}",
            self.opaque, self.source, self.queue
        );
        write_frame(&mut self.pull, &header, &[]);
    }

    fn write_batch(&mut self, batch: &[u8]) {
        self.opaque += 1;
        let header = format!(
            "{{\"code\":320,\"language\":\"CPP\",\"version\":401,\"opaque\":{},\"flag\":0,\"extFields\":{{\"a\":\"FLOOR\",\
             \"b\":\"{}\",\"c\":\"TBW102\",\"d\":\"4\",\"e\":\"{}\",\"f\":\"0\",\"g\":\"1\",\"h\":\"0\",\"i\":\"\",\
             \"j\":\"0\",\"k\":\"false\",\"l\":\"0\",\"m\":\"true\"}}}}",
            self.opaque, self.target, self.queue
        );
        write_frame(&mut self.send, &header, batch);
    }
}

/// Copies every record of a page into a batch body; returns how many.
fn collect(page: &[u8], batch: &mut Vec<u8>) -> i64 {
    let (mut at, mut count) = (0, 0);
    while at < page.len() {
        let size = integer(page, at) as usize;
        let record = &page[at..at + size];
        assert_eq!(integer(record, 36) & IPV6_BITS, 0, "the floor knows IPv4 hosts only");
        let body_length = integer(record, BEFORE_BODY - 4) as usize;
        let body = &record[BEFORE_BODY..BEFORE_BODY + body_length];
        let topic_at = BEFORE_BODY + body_length;
        let properties_at = topic_at + 1 + usize::from(record[topic_at]);
        let properties = &record[properties_at + 2..];
        let total = 22 + body.len() + properties.len();
        batch.extend_from_slice(&u32::try_from(total).expect("short message").to_be_bytes());
        batch.extend_from_slice(&[0; 8]);
        batch.extend_from_slice(&record[16..20]);
        batch.extend_from_slice(&u32::try_from(body.len()).expect("short body").to_be_bytes());
        batch.extend_from_slice(body);
        batch.extend_from_slice(&record[properties_at..properties_at + 2]);
        batch.extend_from_slice(properties);
        at += size;
        count += 1;
    }
    count
}
