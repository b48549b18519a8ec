//! Feeds arbitrary bytes to `harness::frame_binary`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| causeway_rocketmq::wire::harness::frame_binary(data));
