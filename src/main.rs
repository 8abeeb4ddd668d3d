use std::process::ExitCode;
use std::time::Duration;

/// How long to wait at exit for a thread that hangs in a system call, as on a network file system
/// that does not answer.
const HANGING_MAX: Duration = Duration::from_secs(2);

fn main() -> std::io::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new()?;
    let code = runtime.block_on(litestream::cli::run(std::env::args_os()));
    runtime.shutdown_timeout(HANGING_MAX);
    Ok(code)
}
