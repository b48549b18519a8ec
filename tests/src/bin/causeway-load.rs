//! Fills a topic for the benchmark: single sends whose born timestamps are one millisecond apart within each queue, or
//! a steady stream of small batches for latency.
//!
//! `causeway-load BROKER TOPIC QUEUES MESSAGES_PER_QUEUE BODY_BYTES [MESSAGES_PER_SECOND [same|noise|orders]]`.
//! Without a rate, or with 0, it sends as fast as one request in flight per queue allows.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use causeway_tests::bench::bodies::Content;
use causeway_tests::bench::raw::{connect, header, send};
use causeway_tests::random::Random;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(broker), Some(topic)) = (arguments.first(), arguments.get(1)) else {
        eprintln!(
            "usage: causeway-load BROKER TOPIC QUEUES MESSAGES_PER_QUEUE BODY_BYTES [MESSAGES_PER_SECOND \
             [same|noise|orders]]"
        );
        std::process::exit(2);
    };
    let number = |index: usize| arguments.get(index).map(|text| text.parse::<u64>().expect("a number"));
    let queues = number(2).expect("QUEUES");
    let messages = number(3).expect("MESSAGES_PER_QUEUE");
    let size = usize::try_from(number(4).expect("BODY_BYTES")).expect("BODY_BYTES");
    let per_queue_rate = number(5).filter(|rate| *rate > 0).map(|rate| (rate / queues).max(1));
    let content = arguments.get(6).map_or(Content::Same, |word| Content::of(word).expect("same, noise or orders"));
    std::thread::scope(|scope| {
        for queue in 0..queues {
            let bodies = Bodies { content, size, random: Random(queue + 1), body: Vec::new() };
            scope.spawn(move || match per_queue_rate {
                None => fill(broker, topic, queue, messages, bodies),
                Some(rate) => pace(broker, topic, queue, messages, bodies, rate),
            });
        }
    });
}

/// One body after the other.
struct Bodies {
    content: Content,
    size: usize,
    random: Random,
    body: Vec<u8>,
}

impl Bodies {
    fn next(&mut self) -> &[u8] {
        if self.content != Content::Same || self.body.is_empty() {
            self.content.fill(&mut self.body, self.size, &mut self.random);
        }
        &self.body
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    u64::try_from(since.as_millis()).expect("a time that fits")
}

fn fill(broker: &str, topic: &str, queue: u64, messages: u64, mut bodies: Bodies) {
    let mut stream = connect(broker);
    let first = now() - messages;
    for number in 0..messages {
        let properties = format!("KEYS\\u0001{queue}-{number}\\u0002TAGS\\u0001load\\u0002");
        send(&mut stream, &header(310, topic, queue, first + number, &properties, false), bodies.next());
    }
}

/// Ten batches a second would hide latency; a hundred are close to what many producers make together.
const ROUNDS_PER_SECOND: u64 = 100;

fn pace(broker: &str, topic: &str, queue: u64, messages: u64, mut bodies: Bodies, rate: u64) {
    let mut stream = connect(broker);
    let started = Instant::now();
    let mut number = 0;
    let mut round = 0;
    while number < messages {
        round += 1;
        let due = (rate * round / ROUNDS_PER_SECOND).min(messages);
        let mut batch = Vec::new();
        for sequence in number..due {
            let body = bodies.next();
            let properties = format!("KEYS\u{1}{queue}-{sequence}\u{2}TAGS\u{1}load\u{2}");
            let total = 22 + body.len() + properties.len();
            batch.extend_from_slice(&u32::try_from(total).expect("small").to_be_bytes());
            batch.extend_from_slice(&[0; 12]);
            batch.extend_from_slice(&u32::try_from(body.len()).expect("small").to_be_bytes());
            batch.extend_from_slice(body);
            batch.extend_from_slice(&u16::try_from(properties.len()).expect("small").to_be_bytes());
            batch.extend_from_slice(properties.as_bytes());
        }
        if due > number {
            send(&mut stream, &header(320, topic, queue, now(), "", true), &batch);
            number = due;
        }
        let next = started + Duration::from_micros(1_000_000 * round / ROUNDS_PER_SECOND);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}
