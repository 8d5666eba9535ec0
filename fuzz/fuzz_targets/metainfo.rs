#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| samara_fuzz::metainfo::run(data));
