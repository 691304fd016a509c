//! See [`parthood_fuzz::quorum_file`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| parthood_fuzz::quorum_file::run(data));
