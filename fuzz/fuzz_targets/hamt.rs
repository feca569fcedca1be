//! Runs [`holdfast_fuzz::hamt`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast_fuzz::hamt(data));
