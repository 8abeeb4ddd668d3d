use serde_json::json;

use super::arguments::VersionArguments;
use super::{DONE, output};

pub(super) const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

pub(super) fn run(arguments: &VersionArguments) -> anyhow::Result<u8> {
    if arguments.json {
        output::print(&format!("{:#}\n", json!({ "version": VERSION })))?;
    } else {
        output::print(&format!("{VERSION}\n"))?;
    }
    Ok(DONE)
}
