//! Runs [`holdfast_fuzz::multipart`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast_fuzz::multipart(data));
