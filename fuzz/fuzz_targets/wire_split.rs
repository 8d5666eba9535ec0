#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| samara_fuzz::wire_split::run(data));
