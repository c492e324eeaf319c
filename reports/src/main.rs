//! The binary `iommufd-testbed`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(reports::cli::main())
}
