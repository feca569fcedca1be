//! Runs [`holdfast_fuzz::ipns`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast_fuzz::ipns(data));
