//! Feeds arbitrary bytes to `harness::records`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| causeway_rocketmq::wire::harness::records(data));
