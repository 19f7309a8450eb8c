//! Declares the cfg that swaps std for loom; `[lints] workspace = true` leaves no room for it in the
//! manifest.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(loom)");
    println!("cargo::rerun-if-changed=build.rs");
}
