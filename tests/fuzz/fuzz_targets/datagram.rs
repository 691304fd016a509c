//! See [`parthood_fuzz::datagram`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| parthood_fuzz::datagram::run(data));
