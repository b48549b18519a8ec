//! `causeway run`: a node, until it is told to stop.

use std::path::Path;

use causeway_core::error_code::ErrorCode;

use crate::app;
use crate::app::Node;
use crate::cli::args::ADDRESS;
use crate::cli::exit::{Exit, Failure};
use crate::cli::interrupt;
use crate::cli::notify;
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
        notify::tell(notify::READY);
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

fn failed(error: &app::Error) -> Failure {
    let failure = Failure::new(error.code(), error.to_string());
    failure.exit(match error {
        // Starting again helps only after somebody did what the message says: a supervisor need not try.
        app::Error::NoCluster { .. } => Exit::Refused,
        app::Error::Deserted => Exit::Usage,
        // A node that did not start or ended by itself has failed, whatever the reason is called.
        _ => Exit::Failed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_an_operator_can_mend_has_an_exit_code_of_its_own() {
        let number = |error: app::Error| failed(&error).exit.number();
        assert_eq!(number(app::Error::NoCluster { directory: "data".into() }), 4);
        assert_eq!(number(app::Error::Deserted), 2);
        assert_eq!(number(app::Error::NoData { directory: "data".into() }), 1);
        assert_eq!(number(app::Error::PartEnded { part: "supervision" }), 1);
    }
}
