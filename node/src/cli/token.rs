//! `causeway token reset`: a new administrator's token for a node that is stopped.
//!
//! Works on the data directory, so whoever may read and write that needs no token. Never shows the old one: it is not
//! kept.

use std::path::Path;

use crate::app;
use crate::cli::enroll::with_config;
use crate::cli::exit::{Exit, Failure};
use crate::cli::interrupt;
use crate::cli::screen::Screen;
use crate::config::NodeConfig;

/// Replaces the token of the node that this configuration describes, and prints the new one.
pub fn reset(path: Option<&Path>, screen: &mut Screen) -> Exit {
    with_config(path, screen, |config, screen| {
        let token = replaced(config)?;
        screen.line(format!("  token  {token}"));
        screen.line("         shown this once; the old one is worth nothing when the node starts again");
        Ok(())
    })
}

fn replaced(config: &NodeConfig) -> Result<String, Failure> {
    let runtime = interrupt::runtime()?;
    let token = runtime.block_on(app::replace_token(config));
    token.map(|token| String::clone(&token)).map_err(|error| Failure::new(error.code(), error.to_string()))
}
