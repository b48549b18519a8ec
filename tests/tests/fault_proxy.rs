//! The fault proxy does what its control says, between two plain sockets.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use causeway_tests::proxy::{Direction, FaultProxy};

/// A server that keeps all it receives from one connection, then sends it back.
fn server() -> (String, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let handle = spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let _ = stream.write_all(&all);
        all
    });
    (address, handle)
}

fn frame(length: u32) -> Vec<u8> {
    let mut frame = length.to_be_bytes().to_vec();
    frame.resize(4 + usize::try_from(length).unwrap(), 7);
    frame
}

fn connect(proxy: &FaultProxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

fn wait(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !reached() {
        assert!(Instant::now() < deadline, "waited for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn bytes_pass_unchanged_and_a_half_close_is_passed_on() {
    let (address, server) = server();
    let proxy = FaultProxy::start("127.0.0.1:0", &address);
    let mut client = connect(&proxy);
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    proxy.set_in_flight(Direction::ToServer, 1000);
    client.write_all(&sent).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut back = Vec::new();
    client.read_to_end(&mut back).unwrap();
    assert!(back == sent && server.join().unwrap() == sent);
    assert_eq!(proxy.bytes_delivered(Direction::ToServer), 3_000_000);
    wait("the connection to be gone", || proxy.connections_open() == 0);
}

#[test]
fn a_delay_holds_every_byte_back() {
    let (address, server) = server();
    let proxy = FaultProxy::start("127.0.0.1:0", &address);
    proxy.set_delay(Direction::ToServer, Duration::from_millis(200));
    let mut client = connect(&proxy);
    let started = Instant::now();
    client.write_all(&frame(10)).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(200));
    assert_eq!(server.join().unwrap().len(), 14);
}

#[test]
fn bandwidth_is_bounded() {
    let (address, server) = server();
    let proxy = FaultProxy::start("127.0.0.1:0", &address);
    proxy.set_bandwidth(Direction::ToServer, Some(400_000));
    let mut client = connect(&proxy);
    let started = Instant::now();
    client.write_all(&vec![0; 200_000]).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(server.join().unwrap().len(), 200_000);
    // The last chunk is not waited for, so a little less than half a second must have passed.
    assert!(started.elapsed() >= Duration::from_millis(400));
}

#[test]
fn a_stall_is_one_way_and_ends() {
    let (address, server) = server();
    let proxy = FaultProxy::start("127.0.0.1:0", &address);
    proxy.set_stalled(Direction::ToServer, true);
    let mut client = connect(&proxy);
    client.write_all(&frame(10)).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(client.read(&mut [0; 1]).is_err(), "something came through a stall");
    assert_eq!(proxy.bytes_delivered(Direction::ToServer), 0);
    proxy.set_stalled(Direction::ToServer, false);
    assert_eq!(server.join().unwrap(), frame(10));
}

#[test]
fn a_connection_is_closed_inside_the_second_frame() {
    let (address, server) = server();
    let proxy = FaultProxy::start("127.0.0.1:0", &address);
    let mut client = connect(&proxy);
    client.write_all(&frame(100)).unwrap();
    wait("the first frame", || proxy.bytes_delivered(Direction::ToServer) == 104);
    proxy.close_mid_frame(Direction::ToServer, 30);
    assert!(proxy.is_armed(Direction::ToServer));
    client.write_all(&frame(100)).unwrap();
    assert_eq!(server.join().unwrap().len(), 134);
    assert!(!proxy.is_armed(Direction::ToServer));
    assert!(matches!(client.read(&mut [0; 1]), Ok(0) | Err(_)));
}

#[test]
fn garbage_comes_before_a_frame_never_inside_one() {
    let (address, server) = server();
    let proxy = FaultProxy::start("127.0.0.1:0", &address);
    let mut client = connect(&proxy);
    let first = frame(100);
    client.write_all(&first[..50]).unwrap();
    wait("half a frame", || proxy.bytes_delivered(Direction::ToServer) == 50);
    proxy.inject(Direction::ToServer, &[0x7f, 0xff, 0xff, 0xff]);
    client.write_all(&first[50..]).unwrap();
    client.write_all(&frame(3)).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let expected = [first, vec![0x7f, 0xff, 0xff, 0xff], frame(3)].concat();
    assert_eq!(server.join().unwrap(), expected);
}

#[test]
fn a_cut_ends_open_connections_and_refusing_ends_new_ones() {
    let (address, server) = server();
    let proxy = FaultProxy::start("127.0.0.1:0", &address);
    let mut client = connect(&proxy);
    client.write_all(&frame(10)).unwrap();
    wait("the frame", || proxy.bytes_delivered(Direction::ToServer) == 14);
    proxy.set_refusing(true);
    proxy.cut();
    assert!(matches!(client.read(&mut [0; 1]), Ok(0) | Err(_)));
    assert_eq!(server.join().unwrap(), frame(10));
    let mut second = connect(&proxy);
    assert!(matches!(second.read(&mut [0; 1]), Ok(0) | Err(_)));
    assert_eq!(proxy.connections_open(), 0);
}
