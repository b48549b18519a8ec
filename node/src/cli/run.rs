//! `causeway run`: a node, until it is told to stop.

use std::path::Path;

use causeway_core::error_code::ErrorCode;

use crate::app::Node;
use crate::cli::args::ADDRESS;
use crate::cli::exit::{Exit, Failure};
use crate::cli::interrupt;
use crate::cli::screen::Screen;
use crate::config::{self, NodeConfig};
use crate::shutdown::{Ended, run_until_asked};
use crate::telemetry::logs;

/// Runs a node with the configuration of a file, or with the defaults.
pub fn run(path: Option<&Path>, screen: &mut Screen) -> Exit {
    let loaded = match config::load(path) {
        Ok(loaded) => loaded,
        Err(faults) => {
            screen.remark(faults.to_string());
            return Exit::of(ErrorCode::InvalidConfiguration);
        }
    };
    for note in &loaded.notes {
        screen.remark(format!("note: {note}"));
    }
    let ended = logs::init(&loaded.config.log)
        .map_err(|error| Failure::new(ErrorCode::InvalidConfiguration, format!("log.level: {error}")))
        .and_then(|()| serve(loaded.config, screen));
    match ended {
        Ok(exit) => exit,
        Err(failure) => {
            screen.remark(failure.to_string());
            failure.exit
        }
    }
}

fn serve(config: NodeConfig, screen: &mut Screen) -> Result<Exit, Failure> {
    let runtime = interrupt::runtime()?;
    let section = config.node.clone();
    runtime.block_on(async {
        let mut signals = interrupt::signals()?;
        let node = tokio::select! {
            started = Node::start(config) => started.map_err(|error| failed(&error))?,
            () = signals.asked() => return Ok(Exit::Done),
        };
        screen.line(format!("{} in {} runs at http://{}", section.name, section.region, node.address()));
        screen.line(format!("  data   {}", section.data_directory.display()));
        if let Some(token) = node.first_token() {
            screen.line(format!("  token  {token}"));
            screen.line("         shown this once: put it into CAUSEWAY_TOKEN, or into a file for --token-file");
        }
        let usual = ADDRESS == format!("http://{}", node.address());
        let elsewhere = if usual { String::new() } else { format!(" --address {}", node.address()) };
        screen.line(format!("  next   causeway status --watch{elsewhere}   Ctrl-C to stop, twice to stop at once"));
        match run_until_asked(node, &mut signals).await.map_err(|error| failed(&error))? {
            Ended::Gracefully => Ok(Exit::Done),
            Ended::Abruptly => {
                screen.remark("stopped at once; the next start finds by the target's tail what was sent");
                Ok(Exit::Failed)
            }
            Ended::ByItself => Ok(Exit::Failed),
        }
    })
}

fn failed(error: &crate::app::Error) -> Failure {
    let failure = Failure::new(error.code(), error.to_string());
    // A node that did not start or ended by itself has failed, whatever the reason is called.
    failure.exit(Exit::Failed)
}
