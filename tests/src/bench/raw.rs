//! Framing by hand over a blocking socket, for the programs of the benchmark that must not use the product's code.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A connection to a broker.
#[must_use]
pub fn connect(broker: &str) -> TcpStream {
    let stream = TcpStream::connect(broker).expect("the broker is reachable");
    stream.set_nodelay(true).expect("nodelay");
    stream
}

/// User and system time of this process so far.
#[must_use]
pub fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("the kernel tells our CPU time");
    let after_name = stat.rsplit_once(") ").expect("the name ends with a parenthesis").1;
    let ticks: u64 = after_name.split(' ').skip(11).take(2).map(|text| text.parse::<u64>().expect("ticks")).sum();
    // USER_HZ is 100 on every Linux that this runs on.
    ticks as f64 / 100.0
}

/// Writes a request: JSON header and body.
pub fn write_frame(stream: &mut TcpStream, header: &str, body: &[u8]) {
    let header_length = u32::try_from(header.len()).expect("short header");
    let total = 4 + header_length + u32::try_from(body.len()).expect("short body");
    let mut frame = Vec::with_capacity(8 + header.len() + body.len());
    frame.extend_from_slice(&total.to_be_bytes());
    frame.extend_from_slice(&header_length.to_be_bytes());
    frame.extend_from_slice(header.as_bytes());
    frame.extend_from_slice(body);
    stream.write_all(&frame).expect("the broker takes the request");
}

/// Reads a response into `frame`, without its length.
pub fn read_frame(stream: &mut TcpStream, frame: &mut Vec<u8>) {
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("the broker answers");
    frame.resize(usize::try_from(u32::from_be_bytes(length)).expect("length"), 0);
    stream.read_exact(frame).expect("the broker answers");
}

/// The response code and where the body begins.
#[must_use]
pub fn parse(frame: &[u8]) -> (i32, usize) {
    let header_length = (integer(frame, 0) & 0x00ff_ffff) as usize;
    let header = std::str::from_utf8(&frame[4..4 + header_length]).expect("a JSON header");
    let code = header.split_once("\"code\":").expect("a code").1;
    let end = code.find([',', '}']).expect("the code ends");
    (code[..end].trim().parse().expect("the code is a number"), 4 + header_length)
}

/// A big-endian number in a frame.
#[must_use]
pub fn integer(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The header of a send: request 310 for one message, 320 for a batch.
#[must_use]
pub fn header(code: i32, topic: &str, queue: u64, born: u64, properties: &str, batch: bool) -> String {
    format!(
        "{{\"code\":{code},\"language\":\"CPP\",\"version\":401,\"opaque\":1,\"flag\":0,\"extFields\":{{\"a\":\"LOAD\",\"b\":\
         \"{topic}\",\"c\":\"TBW102\",\"d\":\"4\",\"e\":\"{queue}\",\"f\":\"0\",\"g\":\"{born}\",\"h\":\"0\",\"i\":\
         \"{properties}\",\"j\":\"0\",\"k\":\"false\",\"l\":\"0\",\"m\":\"{batch}\"}}}}"
    )
}

/// Sends, and sends again while the broker says that it is busy.
///
/// # Panics
/// When the broker refuses.
pub fn send(stream: &mut TcpStream, header: &str, body: &[u8]) {
    let mut answer = Vec::new();
    loop {
        write_frame(stream, header, body);
        read_frame(stream, &mut answer);
        match parse(&answer).0 {
            0 => return,
            2 => std::thread::sleep(Duration::from_millis(5)),
            _ => panic!("the broker refused: {}", String::from_utf8_lossy(&answer)),
        }
    }
}

/// The store timestamps (ms) of the first `count` messages of a queue, in the order of their offsets.
#[must_use]
pub fn store_timestamps(broker: &str, topic: &str, queue: u32, count: usize) -> Vec<i64> {
    let mut stream = connect(broker);
    let mut page = Vec::new();
    let mut timestamps = Vec::with_capacity(count);
    while timestamps.len() < count {
        let offset = timestamps.len();
        let header = format!(
            "{{\"code\":11,\"language\":\"CPP\",\"version\":401,\"opaque\":1,\"flag\":0,\"extFields\":{{\"consumerGroup\":\
             \"CID_RMQ_SYS_BENCH\",\"topic\":\"{topic}\",\"queueId\":\"{queue}\",\"queueOffset\":\"{offset}\",\
             \"maxMsgNums\":\"32\",\"sysFlag\":\"4\",\"commitOffset\":\"0\",\"suspendTimeoutMillis\":\"0\",\
             \"subscription\":\"*\",\"subVersion\":\"0\",\"expressionType\":\"TAG\"}}}}"
        );
        write_frame(&mut stream, &header, &[]);
        read_frame(&mut stream, &mut page);
        let (code, body) = parse(&page);
        assert_eq!(code, 0, "{topic}/{queue} ends before {count} messages");
        let mut at = body;
        while at < page.len() {
            let high = i64::from(integer(&page, at + 56)) << 32;
            timestamps.push(high | i64::from(integer(&page, at + 60)) & 0xffff_ffff);
            at += usize::try_from(integer(&page, at)).expect("a record has a size");
        }
    }
    timestamps.truncate(count);
    timestamps
}
