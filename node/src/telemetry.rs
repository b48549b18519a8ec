//! What the node says about itself: logs, metrics, and the rates of the last hour.
//!
//! Parts: [`logs`] (where log lines go), [`names`] (every metric's name, once), [`scrape`] (reads them off the state
//! when somebody asks), [`members`] (the node's part in its cluster), [`changes`] (what changed hands),
//! [`exposition`] (the text format), [`rates`] and [`totals`] (what tables and charts show), [`process`] (memory and
//! processor time).
//! Never holds a message's content or a secret.

#[cfg(test)]
pub(crate) mod captured;
pub mod changes;
pub mod exposition;
mod incidents;
pub mod logs;
pub mod members;
pub mod names;
pub mod process;
pub mod rates;
pub mod scrape;
pub mod totals;

pub use members::Membership;
pub use rates::{RateHistory, RatePoint, Rates};
pub use scrape::{ScrapeOptions, Sources, render};
