//! The command line of Rectify. Everything it does goes through the library.

mod cli;

fn main() -> std::process::ExitCode {
    rectify::machine::grow_in_large_steps();
    cli::main()
}
