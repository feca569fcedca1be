//! Runs [`holdfast_fuzz::cid`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast_fuzz::cid(data));
