//! The requests, one family a file. Field names are those of Apache's header classes.

pub(crate) mod broker;
pub(crate) mod dispatch;
pub(crate) mod group;
pub(crate) mod offsets;
pub(crate) mod pull;
pub(crate) mod send;
pub(crate) mod topic;
