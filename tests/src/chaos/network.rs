//! The network between the nodes of a cluster on one machine: distance between regions, and links that are cut.
//!
//! Every node is reached through a [`Junction`], which tells by the process that connects which node a client is.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::members::name;
use crate::proxy::{Direction, Junction};

/// The junctions in front of all nodes, by place.
#[derive(Debug)]
pub struct Network {
    regions: Vec<String>,
    folder: PathBuf,
    junctions: Vec<Junction>,
}

/// Two nodes between which nothing is delivered: from the first to the second, and back where both ways are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The place of the sender.
    pub from: usize,
    /// The place of the receiver.
    pub to: usize,
    /// Whether what the receiver sends is lost too.
    pub both_ways: bool,
}

impl Network {
    /// A network without nodes. `folder` is what their folders lie in.
    pub fn new(regions: &[&str], folder: &Path) -> Self {
        let regions = regions.iter().map(|region| (*region).to_owned()).collect();
        Self { regions, folder: folder.to_owned(), junctions: Vec::new() }
    }

    /// Puts a junction in front of the next node, which listens at an address, and answers where others reach it. What
    /// nodes of other regions send and get is delivered `delay` later.
    pub fn add(&mut self, listen: &str, delay: Duration) -> String {
        let (place, count) = (self.junctions.len(), self.regions.len());
        let (folder, nodes) = (self.folder.clone(), count);
        // Whoever is no node, as a command that lets one join, comes the last way.
        let way = move |client: SocketAddr| node_of(client, &folder, nodes).unwrap_or(nodes);
        let junction = Junction::start(listen, count + 1, way);
        for from in (0..count).filter(|from| self.regions[*from] != self.regions[place]) {
            junction.set_delay(from, delay);
        }
        let address = junction.address().to_string();
        self.junctions.push(junction);
        address
    }

    /// How many connections of nodes to others were told apart.
    pub fn connections(&self) -> u64 {
        let of_nodes = 0..self.regions.len();
        self.junctions.iter().flat_map(|junction| of_nodes.clone().map(|way| junction.connections_accepted(way))).sum()
    }

    /// Cuts a link, or heals it.
    pub fn set_cut(&self, cut: Cut, is_cut: bool) {
        self.set_one_way(cut.from, cut.to, is_cut);
        if cut.both_ways {
            self.set_one_way(cut.to, cut.from, is_cut);
        }
    }

    /// Whatever one node sends another goes over connections that either of them opened.
    fn set_one_way(&self, from: usize, to: usize, is_cut: bool) {
        self.junctions[to].set_stalled(from, Direction::ToServer, is_cut);
        self.junctions[from].set_stalled(to, Direction::ToClient, is_cut);
    }
}

/// The place of the node whose process has the client's end of a connection; its command line names its folder.
fn node_of(client: SocketAddr, folder: &Path, nodes: usize) -> Option<usize> {
    let inode = inode_of(client)?;
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
    for process in processes {
        let Ok(command) = fs::read(process.join("cmdline")) else { continue };
        let command = String::from_utf8_lossy(&command);
        let is_of = |place: &usize| command.contains(&format!("{}/", folder.join(name(*place)).display()));
        let Some(place) = (0..nodes).find(is_of) else { continue };
        let has_it = fs::read_dir(process.join("fd"))
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str()));
        if has_it {
            return Some(place);
        }
    }
    None
}

/// The kernel's number of the socket that is bound to a local IPv4 address and connected.
fn inode_of(client: SocketAddr) -> Option<u64> {
    let SocketAddr::V4(client) = client else { return None };
    let local = format!("{:08X}:{:04X}", u32::from(*client.ip()).swap_bytes(), client.port());
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        (fields.next()? == local).then(|| fields.nth(7)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::{inode_of, node_of};

    #[test]
    fn a_client_is_known_by_its_socket_and_only_nodes_are_nodes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_server, address) = listener.accept().unwrap();
        assert_eq!(address, client.local_addr().unwrap());
        let inode = inode_of(address).unwrap();
        let mine = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let mine = mine.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        assert!(mine.into_iter().any(|target| target.as_os_str() == format!("socket:[{inode}]").as_str()));
        assert_eq!(node_of(address, std::path::Path::new("/no/such/folder"), 3), None);
    }
}
