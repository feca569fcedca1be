//! Runs [`holdfast_fuzz::kad`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast_fuzz::kad(data));
