//! The `causeway` command: a node, and what drives one.

use std::process::ExitCode;

fn main() -> ExitCode {
    causeway::cli::run(std::env::args_os())
}
