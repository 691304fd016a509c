//! See [`parthood_fuzz::volume`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| parthood_fuzz::volume::run(data));
