//! The long line is as long as it was set, loses and changes nothing, and carries no more than a window in a round
//! trip. Times are lower bounds only: a busy machine makes everything later, never earlier.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use causeway_tests::long_line::LongLine;

const MIB: usize = 1 << 20;

/// A server that sends back what it receives from one connection, each piece at once.
fn echo() -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let handle = spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = vec![0; MIB];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(read) => stream.write_all(&buffer[..read]).unwrap(),
            }
        }
    });
    (address, handle)
}

fn connect(line: &LongLine) -> TcpStream {
    let stream = TcpStream::connect(line.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

#[test]
fn everything_arrives_unchanged_and_later() {
    let (address, server) = echo();
    let line = LongLine::start("127.0.0.1:0", 4 * MIB);
    line.lead_to(&address);
    line.set_one_way(Duration::from_millis(50));
    let started = Instant::now();
    let mut client = connect(&line);
    client.write_all(b"there").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(200), "a round trip to connect, and one to be answered");

    let sent: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    let mut writer = client.try_clone().unwrap();
    let expected = sent.clone();
    let writing = spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    client.read_to_end(&mut back).unwrap();
    writing.join().unwrap();
    server.join().unwrap();
    assert!(back == expected, "something was lost or changed");
    assert_eq!(line.carried(), 2 * 3_000_005);
}

#[test]
fn a_connection_carries_a_window_in_a_round_trip() {
    let (address, server) = echo();
    let line = LongLine::start("127.0.0.1:0", MIB / 4);
    line.lead_to(&address);
    let mut client = connect(&line);
    client.write_all(&[7]).unwrap();
    client.read_exact(&mut [0]).unwrap();
    line.set_one_way(Duration::from_millis(20));
    let started = Instant::now();
    let mut writer = client.try_clone().unwrap();
    let writing = spawn(move || writer.write_all(&vec![7; MIB]).unwrap());
    client.read_exact(&mut vec![0; MIB]).unwrap();
    // Four windows: three acknowledgements are waited for, and then the last window there and back.
    assert!(started.elapsed() >= Duration::from_millis(160), "{:?}", started.elapsed());
    writing.join().unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    server.join().unwrap();
}

#[test]
fn a_line_that_leads_nowhere_or_has_ended_closes_connections() {
    let line = LongLine::start("127.0.0.1:0", MIB);
    assert!(matches!(connect(&line).read(&mut [0]), Ok(0) | Err(_)));
    let (address, server) = echo();
    line.lead_to(&address);
    let mut client = connect(&line);
    client.write_all(&[1]).unwrap();
    client.read_exact(&mut [0]).unwrap();
    drop(line);
    assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
    server.join().unwrap();
}
