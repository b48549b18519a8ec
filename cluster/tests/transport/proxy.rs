//! Stands between two nodes and can fail as networks do.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    /// Everything passes.
    Pass,
    /// So many bytes pass in a millisecond, in each direction.
    Slow(usize),
    /// Nothing passes, and nobody is told.
    Swallow,
    /// Every connection is closed, and none is taken.
    Cut,
}

pub(crate) struct Proxy {
    pub(crate) address: String,
    mode: Arc<watch::Sender<Mode>>,
}

impl Proxy {
    pub(crate) async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mode = Arc::new(watch::Sender::new(Mode::Pass));
        tokio::spawn(serve(listener, target.to_owned(), Arc::clone(&mode)));
        Self { address, mode }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn serve(listener: TcpListener, target: String, mode: Arc<watch::Sender<Mode>>) {
    while let Ok((near, _)) = listener.accept().await {
        let (target, mode) = (target.clone(), Arc::clone(&mode));
        tokio::spawn(async move {
            if *mode.borrow() == Mode::Cut {
                return;
            }
            let Ok(far) = TcpStream::connect(target).await else { return };
            let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
            let mut cut = mode.subscribe();
            tokio::select! {
                () = pump(near_read, far_write, mode.subscribe()) => {}
                () = pump(far_read, near_write, mode.subscribe()) => {}
                _ = cut.wait_for(|mode| *mode == Mode::Cut) => {}
            }
        });
    }
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let now = *mode.borrow_and_update();
        let most = match now {
            Mode::Swallow | Mode::Cut => {
                if mode.changed().await.is_err() {
                    return;
                }
                continue;
            }
            Mode::Slow(bytes) => {
                sleep(Duration::from_millis(1)).await;
                bytes
            }
            Mode::Pass => buffer.len(),
        };
        let read = tokio::select! {
            read = from.read(&mut buffer[..most]) => read,
            _ = mode.changed() => continue,
        };
        match read {
            Ok(read) if read > 0 && to.write_all(&buffer[..read]).await.is_ok() => {}
            _ => return,
        }
    }
}
