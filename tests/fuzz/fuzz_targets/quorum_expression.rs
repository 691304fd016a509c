//! See [`parthood_fuzz::quorum_expression`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| parthood_fuzz::quorum_expression::run(data));
