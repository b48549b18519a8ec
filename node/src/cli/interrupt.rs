//! What commands that last need: a runtime on this thread, and Ctrl-C as something to wait for.

use causeway_core::error_code::ErrorCode;
use tokio::runtime::{Builder, Runtime};

use crate::cli::exit::Failure;
use crate::shutdown::Signals;

/// A runtime on this thread.
///
/// # Errors
/// [`Failure`] where the operating system refuses.
pub fn runtime() -> Result<Runtime, Failure> {
    Builder::new_current_thread().enable_all().build().map_err(|error| refused(&error))
}

/// Ctrl-C and SIGTERM, taken over at once; to be called inside the runtime.
///
/// # Errors
/// [`Failure`] where the operating system refuses.
pub fn signals() -> Result<Signals, Failure> {
    Signals::listen().map_err(|error| refused(&error))
}

fn refused(error: &std::io::Error) -> Failure {
    Failure::new(ErrorCode::Internal, format!("the operating system refuses what waiting needs: {error}"))
}
