use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    litestream::cli::run(std::env::args_os()).await
}
