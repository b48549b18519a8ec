//! Something that listens where a name server should, and is none.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

/// What it does to whoever connects and asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trick {
    /// Announces a frame, sends a part of it and closes.
    CloseMidFrame,
    /// Announces a frame of 2 GiB and sends nothing more.
    Announce2Gib,
    /// Answers in another protocol.
    Garbage,
}

impl Trick {
    fn answer(self) -> &'static [u8] {
        match self {
            Self::CloseMidFrame => b"\x00\x00\x01\x00\x00\x00\x00\x40{\"code\":0,",
            Self::Announce2Gib => b"\x7f\xff\xff\xff",
            Self::Garbage => b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n\xff\xfe\xfd",
        }
    }
}

/// A running impostor. Dropping it frees its address.
#[derive(Debug)]
pub(super) struct Impostor {
    address: String,
    ended: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    acceptor: Option<JoinHandle<()>>,
}

impl Impostor {
    /// Listens.
    pub(super) fn start(address: &str, trick: Trick) -> Self {
        let listener = TcpListener::bind(address).unwrap_or_else(|error| panic!("cannot listen on {address}: {error}"));
        let (ended, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let acceptor = spawn({
            let (ended, asked) = (ended.clone(), asked.clone());
            move || {
                for client in listener.incoming().flatten() {
                    if ended.load(Ordering::SeqCst) {
                        return;
                    }
                    let (ended, asked) = (ended.clone(), asked.clone());
                    spawn(move || serve(client, trick, &ended, &asked));
                }
            }
        });
        Self { address: address.to_owned(), ended, asked, acceptor: Some(acceptor) }
    }

    /// How many requests were answered with the trick.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Accepting blocks; a connection of our own lets it see that the end has come.
        let _ = TcpStream::connect(&self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn serve(mut client: TcpStream, trick: Trick, ended: &AtomicBool, asked: &AtomicU64) {
    let _ = client.set_read_timeout(Some(Duration::from_millis(200)));
    let mut buffer = [0; 4096];
    let mut tricked = false;
    while !ended.load(Ordering::SeqCst) {
        match client.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) if !tricked => {
                tricked = true;
                asked.fetch_add(1, Ordering::SeqCst);
                if client.write_all(trick.answer()).is_err() || trick == Trick::CloseMidFrame {
                    return;
                }
            }
            // A read that timed out shows whether the impostor has ended.
            Ok(_) | Err(_) => {}
        }
    }
}
