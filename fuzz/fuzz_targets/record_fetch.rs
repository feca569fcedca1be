//! Runs [`holdfast_fuzz::record_fetch`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast_fuzz::record_fetch(data));
