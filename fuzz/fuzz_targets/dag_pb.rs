//! Runs [`holdfast_fuzz::dag_pb`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast_fuzz::dag_pb(data));
