//! libFuzzer on one of [`targets::TARGETS`]: the one that `FUZZ_TARGET` names. See `run`.

#![no_main]

mod targets;

use std::sync::LazyLock;
use targets::{Target, TARGETS};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    TARGETS.iter().find(|t| t.name == name).unwrap_or_else(|| {
        let names: Vec<&str> = TARGETS.iter().map(|t| t.name).collect();
        eprintln!("set FUZZ_TARGET to one of: {}", names.join(", "));
        std::process::exit(2);
    })
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.feed)(bytes));
