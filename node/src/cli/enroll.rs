//! `causeway cluster init`, `join`, `rejoin`, `restore` and `recover`: what is done to the data directory of a node
//! that does not run.

use std::path::Path;

use causeway_core::error_code::ErrorCode;

use crate::app;
use crate::app::enroll::{self, Enrolled};
use crate::cli::exit::{Exit, Failure};
use crate::cli::screen::Screen;
use crate::cli::{interrupt, parse, token_in};
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
        verify(at)?;
        let token = token_in(JOIN_TOKEN_VARIABLE, token_file)?.unwrap_or_default();
        let joined = interrupt::runtime()?.block_on(enroll::join(config, at, &token));
        let Enrolled { node, cluster, already } = joined.map_err(failed)?;
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
        verify(at)?;
        let token = token_in(JOIN_TOKEN_VARIABLE, token_file)?.unwrap_or_default();
        let rejoined = interrupt::runtime()?.block_on(enroll::rejoin(config, at, &token));
        let Enrolled { node, .. } = rejoined.map_err(failed)?;
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

/// Whether `--at` can be an address at all, before anybody is asked.
fn verify(at: &str) -> Result<(), Failure> {
    parse::member(at).map_err(|expected| Failure::usage(format!("--at {at}: {expected}")))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::captured;

    /// Runs a command with the configuration of a node of a cluster whose data directory is new.
    fn with_new_node(work: impl Fn(&Path, &mut Screen) -> Exit) -> (Exit, String) {
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("causeway.toml");
        let data = folder.path().join("data").display().to_string();
        let text = format!("version = 1\n[node]\ndata_directory = {data:?}\n[cluster]\nlisten = \"127.0.0.1:7501\"\n");
        std::fs::write(&file, text).expect("writes");
        let (mut screen, _, err) = captured(200);
        (work(&file, &mut screen), err.text())
    }

    #[test]
    fn an_address_without_a_port_is_a_usage_error_and_no_token_is_no_token() {
        let token = tempfile::NamedTempFile::new().expect("a file");
        for join in [super::join, super::rejoin] {
            let (exit, err) = with_new_node(|file, screen| join("127.0.0.1", Some(token.path()), Some(file), screen));
            assert_eq!(exit, Exit::Usage, "{err}");
            assert!(err.contains("--at 127.0.0.1: write it as HOST:PORT") && err.contains("CWY-0102"), "{err}");
            let (exit, err) = with_new_node(|file, screen| join("127.0.0.1:1", Some(token.path()), Some(file), screen));
            assert_eq!(exit, Exit::Refused, "{err}");
            assert!(err.contains("CWY-0201") && err.contains("CAUSEWAY_JOIN_TOKEN"), "{err}");
        }
    }

    #[test]
    fn a_backup_that_cannot_be_read_is_a_file_and_no_directory_that_cannot_be_used() {
        let (exit, err) = with_new_node(|file, screen| restore(Path::new("/no/such/backup"), Some(file), screen));
        assert_eq!(exit, Exit::Failed);
        assert!(err.contains("/no/such/backup") && err.contains("CWY-0119"), "{err}");
    }
}
