//! The independent judge: compares what a source topic held with what a target topic holds, from two dumps.
//!
//! Reading order: [`dump`] (the lines of `tests/java/Dump.java`), [`rules`] (what may differ), `index` (a few bytes per
//! message), `matching` (which target message is the copy of which source message), [`report`]. A dump is streamed and
//! only hashes stay in memory, about 100 bytes per message of both dumps; lines are read again only to show
//! differences.
//!
//! It shares no code with the product and does not read its provenance: a copy is recognised by its content.

pub mod dump;
mod index;
mod matching;
pub mod report;
pub mod rules;

use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

pub use report::{Difference, Kind, Place, Report};
pub use rules::{BodyRule, QueueRule, Rules};

/// Compares two dumps.
///
/// # Errors
/// When a dump cannot be read, is not a dump, or is not sorted by broker, queue and offset.
pub fn compare(source: &Path, target: &Path, rules: &Rules) -> io::Result<Report> {
    let mut faults = Vec::new();
    let source_index = index::read(source, rules, index::Side::Source, &mut faults)?;
    let target_index = index::read(target, rules, index::Side::Target, &mut faults)?;
    let found = matching::run(source_index, target_index, rules);
    report::build(source, target, rules, found, faults)
}

/// SHA-256 in lower-case hexadecimal.
pub fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
