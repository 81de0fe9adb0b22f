//! `cargo bench --bench tables`: the tables of all labs from what was measured last. `cargo bench` runs it at its end.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // With `--test` nothing was measured.
    if !std::env::args().any(|arg| arg == "--test" || arg == "--list") {
        print!("\n{}", chatlab::benches::all_tables(&chatlab::benches::folder()?)?);
    }
    Ok(())
}
