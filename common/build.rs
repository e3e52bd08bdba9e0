//! Rebuilds the crate when a migration is added or removed: the macro that
//! embeds them only tracks the files it found the last time.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../migrations");
}
