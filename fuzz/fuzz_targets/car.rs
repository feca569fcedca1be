//! Runs [`holdfast_fuzz::car`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast_fuzz::car(data));
