//! Fuzz targets: what every parser of untrusted bytes must fulfil for any
//! input.
//!
//! Each target is a plain function that panics when its promise is broken. The
//! test replays the seeds and seeded mutations of them on the stable toolchain;
//! `libfuzzer/` runs cargo-fuzz without a limit.

#![expect(clippy::panic, reason = "a broken promise is a panic: that is what fuzzers look for")]

mod fields;
mod hints;
mod measure;
mod quiz;
mod replies;
mod signature;

/// A parser with its promises and seeds.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name in cargo-fuzz.
    pub name: &'static str,
    /// Runs it on some bytes.
    pub run: fn(&[u8]),
    /// Folders of seeds, relative to this crate.
    pub seeds: &'static [&'static str],
}

/// All targets. Each has a file of its name in `libfuzzer/fuzz_targets`.
pub const TARGETS: [Target; 9] = [
    Target {
        name: "quiz",
        run: quiz::run,
        seeds: &["corpus/quiz", "../../common/tests/corpus/quiz"],
    },
    Target { name: "measure", run: measure::run, seeds: &["corpus/measure"] },
    Target { name: "signature", run: signature::run, seeds: &["corpus/signature"] },
    Target { name: "fields", run: fields::run, seeds: &["corpus/fields"] },
    Target { name: "hints", run: hints::run, seeds: &["corpus/hints"] },
    Target { name: "openai", run: replies::openai, seeds: &["corpus/openai"] },
    Target { name: "anthropic", run: replies::anthropic, seeds: &["corpus/anthropic"] },
    Target { name: "gemini", run: replies::gemini, seeds: &["corpus/gemini"] },
    Target { name: "llama", run: replies::llama, seeds: &["corpus/openai"] },
];

/// Runs the target of that name.
///
/// # Panics
/// A promise is broken, or there is no such target.
pub fn run(name: &str, bytes: &[u8]) {
    let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
        panic!("there is no target {name}");
    };
    (target.run)(bytes);
}
