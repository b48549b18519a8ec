//! The Causeway sandbox: two embedded RocketMQ regions, a Causeway node, live traffic, and a verdict.
//!
//! Parts: [`region`] (an embedded name server and broker), [`traffic`] (the producer), [`verifier`] and [`ledger`]
//! (read the copies back and judge them), [`screen`] and [`report`] (what a person and a script see), [`session`] (the
//! order of everything).

#![recursion_limit = "512"]

mod arguments;
mod ledger;
mod node;
mod order;
mod region;
mod report;
mod screen;
mod session;
mod traffic;
mod verifier;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = arguments::Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the sandbox cannot start its threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(session::run(&arguments));
    // Where it was stopped at once, requests may still wait for answers; the process does not.
    runtime.shutdown_background();
    match ended {
        Ok(report) => {
            let ok = report.ok;
            match serde_json::to_string_pretty(&report) {
                Ok(json) if arguments.json => println!("{json}"),
                _ => println!("\n{}", report.sentence()),
            }
            if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(reason) => {
            eprintln!("the sandbox ended: {reason}");
            ExitCode::FAILURE
        }
    }
}
