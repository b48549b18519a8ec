//! The `causeway` command: a node, and what drives one.

use std::process::ExitCode;

/// Half of what the allocator may keep on each thread instead of giving it back to the kernel: a few batches.
const KEPT_BYTES: usize = 1024 * 1024;

fn main() -> ExitCode {
    // Copying allocates a buffer for every answer and frees it a moment later. glibc hands such memory back to the
    // kernel and takes it again, page by page, until it has seen a large block freed: then it keeps up to twice as much
    // (`M_MMAP_THRESHOLD` in mallopt(3)). The block is never touched, so it costs no memory; other allocators ignore
    // it.
    drop(std::hint::black_box(Vec::<u8>::with_capacity(KEPT_BYTES)));
    causeway::cli::run(std::env::args_os())
}
