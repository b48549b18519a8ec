//! Feeds arbitrary bytes to `harness::properties`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| causeway_rocketmq::wire::harness::properties(data));
