//! Runs [`holdfast_fuzz::edit`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast_fuzz::edit(data));
