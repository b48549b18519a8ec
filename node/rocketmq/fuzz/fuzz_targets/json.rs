//! Feeds arbitrary bytes to `harness::json`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| causeway_rocketmq::wire::harness::json(data));
