//! The `causeway` command with one more version of the command set, which tests upgrade nodes to. In no release.

use std::process::ExitCode;

fn main() -> ExitCode {
    causeway::cli::run(std::env::args_os())
}
