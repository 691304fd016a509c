//! See [`parthood_fuzz::resp`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| parthood_fuzz::resp::run(data));
