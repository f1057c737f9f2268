//! The language: any bytes as a model file, read, planned and compiled.
#![no_main]

#[path = "../../tests/import/digest.rs"]
mod digest;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    digest::digest("rect", bytes);
});
