//! Runs [`holdfast_fuzz::mdns`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast_fuzz::mdns(data));
