//! Runs [`holdfast_fuzz::path`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast_fuzz::path(data));
