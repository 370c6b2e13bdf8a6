//! The `hallpass` program.

fn main() -> std::process::ExitCode {
    hallpass::cli::main()
}
