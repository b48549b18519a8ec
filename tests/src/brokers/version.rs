//! Which Apache releases the tests run, and how they differ in what the harness must do.

use std::fmt;

/// A released version of Apache RocketMQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// The first 4.x release that corrects an offset beyond the end to the maximum instead of 0.
    V4_9_4,
    /// The 4.x release that the tests use most.
    V4_9_7,
    /// Fetched together with its proxy.
    V5_2_0,
    /// The first line with ACL 2.0 only.
    V5_3_3,
    /// The newest release.
    V5_5_0,
}

/// Which access control a broker has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AclGeneration {
    /// Accounts in `conf/plain_acl.yml`.
    One,
    /// Users and policies kept by the broker.
    Two,
}

impl Version {
    /// All versions that can be fetched.
    pub const ALL: [Self; 5] = [Self::V4_9_4, Self::V4_9_7, Self::V5_2_0, Self::V5_3_3, Self::V5_5_0];

    /// The version number as Maven knows it.
    pub fn number(self) -> &'static str {
        match self {
            Self::V4_9_4 => "4.9.4",
            Self::V4_9_7 => "4.9.7",
            Self::V5_2_0 => "5.2.0",
            Self::V5_3_3 => "5.3.3",
            Self::V5_5_0 => "5.5.0",
        }
    }

    /// The project file that lists its artifacts.
    pub(super) fn project(self) -> &'static str {
        match self {
            Self::V4_9_4 => include_str!("../../brokers/apache-4.9.4.xml"),
            Self::V4_9_7 => include_str!("../../brokers/apache-4.9.7.xml"),
            Self::V5_2_0 => include_str!("../../brokers/apache-5.2.0.xml"),
            Self::V5_3_3 => include_str!("../../brokers/apache-5.3.3.xml"),
            Self::V5_5_0 => include_str!("../../brokers/apache-5.5.0.xml"),
        }
    }

    /// Whether arbitrary delays, topic attributes and a bind address exist (5.0 and later).
    pub fn is_five(self) -> bool {
        self >= Self::V5_2_0
    }

    /// Which access control to configure.
    pub fn acl_generation(self) -> AclGeneration {
        if self >= Self::V5_3_3 { AclGeneration::Two } else { AclGeneration::One }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.number())
    }
}
