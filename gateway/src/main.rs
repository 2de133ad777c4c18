//! The program `kenin`: everything is in the library, so that tests and the demo run the same code.

fn main() -> std::process::ExitCode {
    kenin::cli::main()
}
