//! `causeway cluster init`, `join`, `rejoin`, `restore` and `recover`: what is done to the data directory of a node
//! that does not run.

use std::path::Path;

use causeway_core::error_code::ErrorCode;
use zeroize::Zeroizing;

use crate::app;
use crate::app::enroll::{self, Enrolled};
use crate::cli::exit::{Exit, Failure};
use crate::cli::screen::Screen;
use crate::cli::{interrupt, token_in};
use crate::config::{self, NodeConfig};
use crate::secrets::KEY_FILE;

/// The variable that holds a join token.
const JOIN_TOKEN_VARIABLE: &str = "CAUSEWAY_JOIN_TOKEN";

/// Makes the data directory that of a node which founds a cluster.
pub fn init(path: Option<&Path>, screen: &mut Screen) -> Exit {
    with_config(path, screen, |config, screen| {
        let enrolled = enroll::found(config).map_err(failed)?;
        let directory = config.node.data_directory.display();
        let done = if enrolled.already { "is that of a new cluster already" } else { "is now that of a new cluster" };
        screen.line(format!("{directory} {done}: {} is its node {}", config.node.name, enrolled.node));
        next(path, screen);
        screen.line("  then   causeway cluster token    for each node that shall join");
        Ok(())
    })
}

/// Lets the node into the cluster of a node that listens at `at`.
pub fn join(at: &str, token_file: Option<&Path>, path: Option<&Path>, screen: &mut Screen) -> Exit {
    with_config(path, screen, |config, screen| {
        let token = token_in(JOIN_TOKEN_VARIABLE, token_file)?.unwrap_or_default();
        let Enrolled { node, cluster, already } = enrolled(config, at, &token)?;
        let cluster = cluster.map_or_else(|| "its cluster".to_owned(), |cluster| format!("cluster {cluster}"));
        let is = if already { "is already" } else { "is now" };
        screen.line(format!("{} {is} node {node} of {cluster}", config.node.name));
        next(path, screen);
        Ok(())
    })
}

/// Gives a node that lost its data a new number in its cluster.
pub fn rejoin(at: &str, token_file: Option<&Path>, path: Option<&Path>, screen: &mut Screen) -> Exit {
    with_config(path, screen, |config, screen| {
        let token = token_in(JOIN_TOKEN_VARIABLE, token_file)?.unwrap_or_default();
        let runtime = interrupt::runtime()?;
        let rejoined = runtime.block_on(enroll::rejoin(config, at, &token));
        let Enrolled { node, .. } = rejoined.map_err(|error| advised(error, &token))?;
        screen.line(format!(
            "{} is node {node} from now on; it gets everything that is agreed on from the others",
            config.node.name
        ));
        next(path, screen);
        Ok(())
    })
}

/// Begins a cluster anew from a backup.
pub fn restore(file: &Path, path: Option<&Path>, screen: &mut Screen) -> Exit {
    with_config(path, screen, |config, screen| {
        let enrolled = enroll::restore(config, file).map_err(failed)?;
        if !config.node.data_directory.join(KEY_FILE).exists() {
            screen.line(format!(
                "  note   copy {KEY_FILE} of a node of the old cluster into {} first, or give sealed secrets again",
                config.node.data_directory.display()
            ));
        }
        begins_anew(config, enrolled, path, screen);
        Ok(())
    })
}

/// Begins a cluster anew from what a stopped node holds.
pub fn recover(others_are_gone: bool, path: Option<&Path>, screen: &mut Screen) -> Exit {
    with_config(path, screen, |config, screen| {
        if !others_are_gone {
            let why = "nothing was changed: a cluster that begins anew while another node of it still runs, or comes back, writes \
                       every copy twice; stop all of them for good, then say --others-are-gone";
            return Err(Failure::usage(why));
        }
        let enrolled = enroll::recover(config).map_err(failed)?;
        begins_anew(config, enrolled, path, screen);
        Ok(())
    })
}

fn begins_anew(config: &NodeConfig, enrolled: Enrolled, path: Option<&Path>, screen: &mut Screen) {
    let cluster = enrolled.cluster.map_or_else(String::new, |cluster| format!(" {cluster}"));
    screen.line(format!(
        "cluster{cluster} begins anew: {} is its node {}, and the only one",
        config.node.name, enrolled.node
    ));
    if config.cluster.is_none() {
        screen.line(format!("  first  set node.id = {} in its configuration", enrolled.node));
    }
    next(path, screen);
    screen.line(
        "  then   causeway cluster token    for each node that shall join; the old ones join with empty directories",
    );
}

fn enrolled(config: &NodeConfig, at: &str, token: &Zeroizing<String>) -> Result<Enrolled, Failure> {
    let runtime = interrupt::runtime()?;
    let joined = runtime.block_on(enroll::join(config, at, token));
    joined.map_err(|error| advised(error, token))
}

fn advised(error: app::Error, token: &str) -> Failure {
    let no_token = token.is_empty() && error.code() == ErrorCode::NoSuchJoinToken;
    let failure = failed(error);
    if no_token {
        failure.advise(format!("put the join token into {JOIN_TOKEN_VARIABLE}, or into a file for --join-token-file"))
    } else {
        failure
    }
}

fn next(path: Option<&Path>, screen: &mut Screen) {
    let config = path.map_or_else(String::new, |path| format!(" --config {}", path.display()));
    screen.line(format!("  next   causeway run{config}"));
}

fn failed(error: app::Error) -> Failure {
    Failure::new(error.code(), error.to_string())
}

/// Works with the configuration of a node that does not run, and tells what went wrong.
pub(super) fn with_config(
    path: Option<&Path>,
    screen: &mut Screen,
    work: impl FnOnce(&NodeConfig, &mut Screen) -> Result<(), Failure>,
) -> Exit {
    let config = match config::load(path) {
        Ok(loaded) => loaded.config,
        Err(faults) => {
            screen.remark(faults.to_string());
            return Exit::of(ErrorCode::InvalidConfiguration);
        }
    };
    match work(&config, screen) {
        Ok(()) => Exit::Done,
        Err(failure) => {
            screen.remark(failure.to_string());
            failure.exit
        }
    }
}
