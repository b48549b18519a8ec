//! Feeds arbitrary bytes to `harness::split`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| causeway_rocketmq::wire::harness::split(data));
