//! The HTTP API and the status page: how people and the command line drive a node and see what it does.
//!
//! Reading order: [`model`] (the JSON), [`seam`] (what is needed of the rest of the node), [`server`] (addresses,
//! limits and routes), [`guard`] and [`auth`] (who may ask), [`answer`] and [`body`] (how every request is read and
//! every failure answered), the resources [`instances`], [`streams`], [`partitions`], [`nodes`] and [`status`], what is
//! behind them ([`probe`], [`broker_probe`], [`copy_plan`], [`validate`], [`decision`], [`survey`], [`history`]), and
//! what is open to everybody: [`page`] and [`error_pages`].
//!
//! The API decides nothing: it validates, proposes commands, and shows what was agreed and what is measured. It never
//! answers or logs a secret, and never changes anything on a GET.

pub mod answer;
pub mod auth;
pub mod body;
pub mod broker_probe;
pub mod copy_plan;
pub mod decision;
pub mod error_pages;
pub mod guard;
pub mod history;
pub mod instances;
pub mod lockout;
#[cfg(feature = "next-commands")]
mod marks;
pub mod model;
pub mod node_changes;
pub mod nodes;
pub mod page;
pub mod partitions;
pub mod probe;
pub mod rules;
pub mod seam;
pub mod server;
pub mod status;
pub mod streams;
pub mod survey;
pub mod topic_name;
pub mod validate;

pub use seam::AdminContext;
pub use server::{AdminServer, Error, bind, start};

#[cfg(test)]
mod docs_tests;
#[cfg(test)]
mod router_tests;
#[cfg(test)]
pub(crate) mod tests;
