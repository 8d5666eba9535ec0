#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| samara_fuzz::redis_client::run(data));
