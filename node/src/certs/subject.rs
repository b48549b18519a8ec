//! Who a node certificate is about: the node's name, and the hosts that it is reached at.
//!
//! The name alone says which node it is, as the DNS name `NODE.node.causeway`, which exists nowhere else. Hosts are for
//! programs that connect to an address and expect to find it in the certificate.

use std::fmt;
use std::net::IpAddr;

use causeway_cluster::transport::{NAME_SUFFIX, certificate_name};
use causeway_core::name::Name;
use rustls::pki_types::DnsName;

use super::{AUTHORITY_FILE, AUTHORITY_KEY_FILE};

/// The most hosts of one certificate.
pub const MAXIMUM_HOSTS: usize = 64;

/// What follows the stem in the name of a certificate file, and of a key file.
pub(crate) const CERTIFICATE_END: &str = ".pem";
pub(crate) const KEY_END: &str = "-key.pem";

/// The name of the file that holds a node's certificate.
#[must_use]
pub fn certificate_file(node: &Name) -> String {
    format!("{node}{CERTIFICATE_END}")
}

/// The name of the file that holds a node's key.
#[must_use]
pub fn key_file(node: &Name) -> String {
    format!("{node}{KEY_END}")
}

/// Why a name cannot be that of a node with a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNode {
    /// No node has such a name.
    #[error("{0}")]
    Name(#[from] causeway_core::name::InvalidName),
    /// A certificate cannot carry it.
    #[error("a certificate cannot carry it: each part between dots has at most 63 letters and no '-' at its ends")]
    Dns,
    /// The files of the certificate would have the names of others.
    #[error("ca, and names that end in -key, belong to other files")]
    File,
}

/// Takes a text as the name of a node that can have a certificate.
///
/// # Errors
/// [`InvalidNode`].
pub fn node(text: &str) -> Result<Name, InvalidNode> {
    let name = Name::new(text)?;
    DnsName::try_from(certificate_name(&name).as_str()).map_err(|_| InvalidNode::Dns)?;
    // Regardless of case, as some file systems are.
    let (certificate, key) = (certificate_file(&name).to_ascii_lowercase(), key_file(&name).to_ascii_lowercase());
    let taken = [AUTHORITY_FILE, AUTHORITY_KEY_FILE];
    if certificate.ends_with(KEY_END) || taken.contains(&certificate.as_str()) || taken.contains(&key.as_str()) {
        return Err(InvalidNode::File);
    }
    Ok(name)
}

/// An IP address or DNS name that a node is reached at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// An IP address.
    Address(IpAddr),
    /// A DNS name without a final dot, outside of `node.causeway`.
    Name(String),
}

/// A text that is no [`Host`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHost {
    /// It cannot be read.
    #[error("write an IP address or a DNS name, without a port")]
    Unreadable,
    /// It would make the node look like another one.
    #[error("only --name says which node it is")]
    NodeDomain,
}

impl Host {
    /// Takes a text as a host.
    ///
    /// # Errors
    /// [`InvalidHost`].
    pub fn new(text: &str) -> Result<Self, InvalidHost> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(address));
        }
        let name = DnsName::try_from(text).map_err(|_| InvalidHost::Unreadable)?;
        let name = name.as_ref();
        if stands_for_node(name) { Err(InvalidHost::NodeDomain) } else { Ok(Self::Name(name.to_owned())) }
    }

    /// Whether both are the same place; DNS names do not differ by case.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(one), Self::Name(other)) => one.eq_ignore_ascii_case(other),
            _ => self == other,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(formatter),
            Self::Name(name) => formatter.write_str(name),
        }
    }
}

/// Whether a DNS name is in the domain of nodes, however it is written; that domain itself is.
fn stands_for_node(name: &str) -> bool {
    format!(".{name}").to_ascii_lowercase().ends_with(NAME_SUFFIX)
}

/// What a node certificate says about its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The node.
    pub node: Name,
    /// Where it is reached, each once.
    pub hosts: Vec<Host>,
}

impl Subject {
    /// A node and its hosts; those that are given twice are taken once.
    #[must_use]
    pub fn new(node: Name, hosts: impl IntoIterator<Item = Host>) -> Self {
        let mut each: Vec<Host> = Vec::new();
        for host in hosts {
            if !each.iter().any(|known| known.is(&host)) {
                each.push(host);
            }
        }
        Self { node, hosts: each }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_name_fits_a_certificate_and_its_files_are_its_own() {
        for good in ["n1", "Hohhot_1", "rack.7-a", "0", "ca1", "key", "a-keys", &"x".repeat(63)] {
            let name = node(good).expect(good);
            assert_eq!(certificate_name(&name), format!("{good}.node.causeway"));
        }
        for (bad, why) in [
            ("a b", InvalidNode::Name(causeway_core::name::InvalidName)),
            ("", InvalidNode::Name(causeway_core::name::InvalidName)),
            ("a.", InvalidNode::Dns),
            ("a..b", InvalidNode::Dns),
            ("a-", InvalidNode::Dns),
            (&"x".repeat(64), InvalidNode::Dns),
            ("ca", InvalidNode::File),
            ("CA", InvalidNode::File),
            ("ca-key", InvalidNode::File),
            ("n1-Key", InvalidNode::File),
        ] {
            assert_eq!(node(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn hosts_are_addresses_or_names_and_never_another_node() {
        assert_eq!(Host::new("10.0.0.5"), Ok(Host::Address([10, 0, 0, 5].into())));
        assert_eq!(Host::new("fd00::5").expect("an address").to_string(), "fd00::5");
        assert_eq!(Host::new("n1.example.com."), Ok(Host::Name("n1.example.com".to_owned())));
        for bad in ["", "10.0.0.5:7600", "[::1]", "*.example.com", "a b", "https://n1", "10.0.0", "n1/"] {
            assert_eq!(Host::new(bad), Err(InvalidHost::Unreadable), "{bad}");
        }
        for bad in ["n2.node.causeway", "N2.Node.Causeway", "n2.node.causeway.", "node.causeway", "a.b.node.causeway"] {
            assert_eq!(Host::new(bad), Err(InvalidHost::NodeDomain), "{bad}");
        }
        for other in ["mynode.causeway", "node.causeway.example.com", "causeway"] {
            assert!(Host::new(other).is_ok(), "{other}");
        }
    }

    #[test]
    fn a_host_that_is_given_twice_is_taken_once() {
        let hosts = ["n1.lan", "N1.LAN", "::1", "0:0::1", "10.0.0.1"].map(|text| Host::new(text).expect(text));
        let subject = Subject::new(node("n1").expect("a name"), hosts);
        let hosts: Vec<String> = subject.hosts.iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["n1.lan", "::1", "10.0.0.1"]);
    }
}
