//! `cargo +nightly fuzz run message $PWD/fuzz/corpus/message $PWD/tests/odd -- -max_len=4096` in `services/sip-core`: the odd messages are seeds.
#![no_main]

#[path = "../../tests/exercise/mod.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exercise::exercise(bytes));
