//! See [`parthood_fuzz::cluster_file`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| parthood_fuzz::cluster_file::run(data));
