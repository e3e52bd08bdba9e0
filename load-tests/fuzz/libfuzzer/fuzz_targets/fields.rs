//! libFuzzer's way into the target; what must hold stands in `regimen_fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regimen_fuzz::run("fields", bytes));
