//! See [`parthood_fuzz::log_record`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| parthood_fuzz::log_record::run(data));
