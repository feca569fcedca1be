//! Runs [`holdfast_fuzz::unixfs`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast_fuzz::unixfs(data));
