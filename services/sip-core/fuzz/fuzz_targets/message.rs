//! `cargo +nightly fuzz run message -- -max_len=4096`, best with the odd messages as seeds: `fuzz/corpus/message tests/odd`.
#![no_main]

#[path = "../../tests/exercise/mod.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exercise::exercise(bytes));
