//! The `causeway` command: runs a node, checks a configuration, and drives a node through its HTTP API.
//!
//! Parts: [`args`] and [`parse`] (what can be typed), [`http`] (asks a node), [`instance`], [`stream`], [`partition`],
//! [`cluster`], [`status`], [`health`] (nouns), [`watch`] and [`wait`] (what goes on), [`run`] with [`notify`],
//! [`enroll`] and [`check`] (a node itself), [`certs`] (certificates), [`explain`] (error codes), [`table`] and
//! [`human`] (how it looks), [`exit`] (how it ends).
//! Never shows a secret, and never takes one from the command line.

pub mod args;
pub mod backup;
pub mod certs;
pub mod check;
pub mod cluster;
pub mod enroll;
pub mod exit;
pub mod explain;
pub mod health;
pub mod http;
pub mod human;
pub mod instance;
pub mod instance_change;
pub mod interrupt;
pub mod nodes;
pub mod notify;
pub mod parse;
pub mod partition;
pub mod resolve;
pub mod rule;
pub mod run;
pub mod screen;
pub mod status;
pub mod stream;
pub mod stream_text;
pub mod table;
pub mod token;
pub mod wait;
pub mod watch;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use causeway_core::error_code::ErrorCode;
use clap::Parser;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::admin::model::VersionAnswer;
use crate::cli::args::rule::RuleCommand;
use crate::cli::args::{
    Arguments, ClusterCommand, Command, ConfigCommand, Format, PartitionCommand, Shared, TokenCommand,
};
use crate::cli::exit::{Exit, Failure};
use crate::cli::http::Api;
use crate::cli::screen::Screen;

/// The variable that holds the API token.
pub const TOKEN_VARIABLE: &str = "CAUSEWAY_TOKEN";

/// What a command that asks a node works with.
pub struct Session {
    /// The node.
    pub api: Api,
    /// How to answer.
    pub format: Format,
    /// Where to answer.
    pub screen: Screen,
}

/// Does what the command line says. The first argument is the program's name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    execute(arguments, Screen::standard()).into()
}

/// As [`run`], with outputs of the caller's choice.
pub fn execute(arguments: impl IntoIterator<Item = OsString>, mut screen: Screen) -> Exit {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => {
            screen.remark(error.render().to_string().trim_end());
            return Exit::Usage;
        }
        Err(help) => {
            screen.line(help.render().to_string().trim_end());
            return Exit::Done;
        }
    };
    let Arguments { shared, command } = arguments;
    match command {
        Command::Run { config } => run::run(config.as_deref(), &mut screen),
        Command::CheckConfig { config, offline } => check::check(config.as_deref(), offline, &shared, &mut screen),
        Command::Config(ConfigCommand::Example) => {
            screen.raw(&crate::config::example::example());
            Exit::Done
        }
        Command::Inspect { directory } => inspect(&directory, shared.output, &mut screen),
        Command::Explain { code } => explain::explain(code.as_deref(), shared.output, &mut screen),
        Command::Cluster(ClusterCommand::Init { config }) => enroll::init(config.as_deref(), &mut screen),
        Command::Cluster(ClusterCommand::Join { at, join_token_file, config }) => {
            enroll::join(&at, join_token_file.as_deref(), config.as_deref(), &mut screen)
        }
        Command::Cluster(ClusterCommand::Rejoin { at, join_token_file, config }) => {
            enroll::rejoin(&at, join_token_file.as_deref(), config.as_deref(), &mut screen)
        }
        Command::Cluster(ClusterCommand::Restore { file, config }) => {
            enroll::restore(&file, config.as_deref(), &mut screen)
        }
        Command::Cluster(ClusterCommand::Recover { others_are_gone, config }) => {
            enroll::recover(others_are_gone, config.as_deref(), &mut screen)
        }
        Command::Rule(RuleCommand::Test(arguments)) => rule::test(*arguments, shared.output, &mut screen),
        Command::Health => health::check(&shared, &mut screen),
        Command::Token(TokenCommand::Reset { config }) => token::reset(config.as_deref(), &mut screen),
        Command::Certs(command) => certs::execute(command, shared.output, &mut screen),
        command => ask(command, &shared, screen),
    }
}

fn ask(command: Command, shared: &Shared, mut screen: Screen) -> Exit {
    let format = shared.output;
    let api = match connect(shared) {
        Ok(api) => api,
        Err(failure) => return complain(&failure, format, &mut screen),
    };
    let mut session = Session { api, format, screen };
    let done = match command {
        Command::Cluster(command) => cluster::execute(&mut session, command),
        Command::Instance(command) => instance::execute(&mut session, command),
        Command::Stream(command) => stream::execute(&mut session, command),
        Command::Partition(PartitionCommand::List { stream }) => partition::list(&mut session, &stream),
        Command::Status { watch: false } => status::once(&mut session),
        Command::Status { watch: true } => watch::watch(&mut session),
        Command::Version => version(&mut session),
        Command::Run { .. }
        | Command::CheckConfig { .. }
        | Command::Config(_)
        | Command::Inspect { .. }
        | Command::Explain { .. }
        | Command::Rule(_)
        | Command::Health
        | Command::Certs(_)
        | Command::Token(_) => Ok(Exit::Done),
    };
    done.unwrap_or_else(|failure| complain(&failure, format, &mut session.screen))
}

/// The API that the options name.
///
/// # Errors
/// [`Failure`] where the address or the token file cannot be used.
pub fn connect(shared: &Shared) -> Result<Api, Failure> {
    Api::new(&shared.address, token(shared.token_file.as_deref())?)
}

/// The longest token file that is read, in bytes.
const MAXIMUM_TOKEN_BYTES: u64 = 4 * 1024;

fn token(file: Option<&Path>) -> Result<Option<Zeroizing<String>>, Failure> {
    token_in(TOKEN_VARIABLE, file)
}

/// A token out of a file, or else out of a variable.
fn token_in(variable: &str, file: Option<&Path>) -> Result<Option<Zeroizing<String>>, Failure> {
    use std::io::Read;
    let text = match file {
        None => Zeroizing::new(std::env::var(variable).unwrap_or_default()),
        Some(path) => {
            let limit = usize::try_from(MAXIMUM_TOKEN_BYTES).unwrap_or(usize::MAX);
            let mut text = Zeroizing::new(String::with_capacity(limit));
            let read =
                std::fs::File::open(path).and_then(|file| file.take(MAXIMUM_TOKEN_BYTES).read_to_string(&mut text));
            read.map_err(|error| Failure::usage(format!("the token file {} cannot be read: {error}", path.display())))?;
            text
        }
    };
    let token = text.trim();
    Ok((!token.is_empty()).then(|| Zeroizing::new(token.to_owned())))
}

fn complain(failure: &Failure, format: Format, screen: &mut Screen) -> Exit {
    if format == Format::Json {
        screen.remark(format!("{:#}", failure.to_json()));
    } else {
        screen.remark(failure.to_string());
    }
    failure.exit
}

fn version(session: &mut Session) -> Result<Exit, Failure> {
    let own = env!("CARGO_PKG_VERSION");
    let node = session.api.get("/v1/version").and_then(|answer| session.api.read::<VersionAnswer>(&answer));
    if session.format == Format::Json {
        let node = node.ok().and_then(|node| serde_json::to_value(node).ok()).unwrap_or(Value::Null);
        session.screen.json(&json!({ "version": own, "node": node }));
        return Ok(Exit::Done);
    }
    session.screen.line(format!("causeway  {own}"));
    match node {
        Ok(VersionAnswer { version, command_version, node, cluster }) => {
            let cluster = cluster.map_or_else(String::new, |cluster| format!(" of cluster {cluster}"));
            session.screen.line(format!("node      {version}   node {node}{cluster}, command set {command_version}"));
        }
        Err(failure) => {
            let reason = failure.faults.first().map_or("", |fault| fault.message.as_str());
            session.screen.line(format!("node      unknown: {reason}"));
        }
    }
    Ok(Exit::Done)
}

fn inspect(directory: &Path, format: Format, screen: &mut Screen) -> Exit {
    match causeway_storage::inspect::inspect(directory) {
        Ok(found) if format == Format::Json => {
            let database = match &found.database {
                Ok(contents) => json!({
                    "last_index": contents.last_index, "entries": contents.entries, "log_bytes": contents.bytes,
                    "routes": contents.routes.len(),
                }),
                Err(error) => json!({ "unreadable": error.to_string() }),
            };
            screen.json(&json!({
                "directory": found.directory, "node": found.identity.node,
                "cluster": found.identity.cluster.map(|cluster| cluster.to_string()), "database": database,
                "snapshots": found.snapshots.iter().map(|(index, _)| index).collect::<Vec<_>>(),
                "quarantined": found.quarantined,
            }));
            Exit::Done
        }
        Ok(found) => {
            screen.line(found.to_string().trim_end());
            Exit::Done
        }
        Err(error) => {
            let code = ErrorCode::DataDirectory;
            let failure =
                Failure::new(code, error.to_string()).advise("only the data of a stopped node can be looked at");
            screen.remark(failure.to_string());
            failure.exit
        }
    }
}

#[cfg(test)]
mod tests;
