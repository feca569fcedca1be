//! Runs [`holdfast_fuzz::bitswap`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast_fuzz::bitswap(data));
