//! The `vermilion` program: hands its arguments to [`vermilion_cli::run`].

use std::process::ExitCode;

use mimalloc::MiMalloc;

// The system's allocator keeps what heavy ingestion took; this one gives it back.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    vermilion_cli::run(std::env::args_os())
}
