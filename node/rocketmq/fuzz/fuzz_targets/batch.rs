//! Feeds arbitrary bytes to `harness::batch`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| causeway_rocketmq::wire::harness::batch(data));
