//! The `vermilion` program: hands its arguments to [`vermilion_cli::run`].

use std::process::ExitCode;

fn main() -> ExitCode {
    vermilion_cli::run(std::env::args_os())
}
