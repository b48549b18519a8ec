//! Feeds arbitrary bytes to `harness::frame_json`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| causeway_rocketmq::wire::harness::frame_json(data));
