//! Tells the service manager how far a node is, where one asks for it (`Type=notify`, sd_notify(3)).
//!
//! One datagram to the socket that `NOTIFY_SOCKET` names. Whether it arrives changes nothing for the node.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The variable in which a service manager names its socket: a path, or `@` and the rest of an abstract name.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// The node serves.
pub const READY: &str = "READY=1";

/// Tells the service manager, where there is one.
pub fn tell(state: &str) {
    let Some(socket) = env::var_os(VARIABLE).filter(|socket| !socket.is_empty()) else { return };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, state, "the service manager was not told");
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let sender = UnixDatagram::unbound()?;
    // A manager that reads nothing must not hold up a node.
    sender.set_nonblocking(true)?;
    sender.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(listener: &UnixDatagram) -> String {
        let mut bytes = [0; 64];
        let length = listener.recv(&mut bytes).expect("a datagram");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn a_manager_is_told_at_a_path_and_at_an_abstract_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let listener = UnixDatagram::bind(&path).expect("binds");
        send(path.as_os_str(), READY).expect("sent");
        assert_eq!(heard(&listener), "READY=1");

        let name = format!("causeway-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let listener = UnixDatagram::bind_addr(&address).expect("binds");
        send(OsStr::new(&format!("@{name}")), READY).expect("sent");
        assert_eq!(heard(&listener), "READY=1");
    }

    #[test]
    fn a_manager_that_is_gone_or_does_not_read_costs_an_error_and_no_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        assert_eq!(send(path.as_os_str(), READY).expect_err("nobody").kind(), io::ErrorKind::NotFound);
        let _listener = UnixDatagram::bind(&path).expect("binds");
        let full = (0..100_000).find_map(|_| send(path.as_os_str(), READY).err()).expect("the queue has an end");
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }
}
