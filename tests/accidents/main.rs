//! Twelve accidents that end in a bad backup. Each happens to our program, and to both versions of
//! Litestream if the environment names them; a table shows what became of the data.
//!
//! Only ours is expected to survive. The results of the others are shown, but are no failures.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod accident;
mod contender;
#[path = "../soak/harness.rs"]
mod harness;
#[path = "../it"]
mod it {
    #[allow(dead_code, unused_imports, reason = "the other tests need more of it")]
    pub(crate) mod support;
}
mod outcome;
mod restoration;
mod run;
mod scene;
mod segments;
mod settings;
mod table;
mod writer;

use std::process::ExitCode;

use accident::{ACCIDENTS, Accident};
use contender::Contender;
use table::Table;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some(status) = writer::play(&words) {
        return status;
    }
    let accidents = chosen(&words);
    let contenders = Contender::all();
    let table = Table::new(&accidents, &contenders, run::all(&accidents, &contenders));
    if !accidents.is_empty() {
        println!("\n{table}");
    }
    let (survived, all) = (table.survived(Contender::Ours), accidents.len());
    println!("{survived} passed, {} failed", all - survived);
    if survived == all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The accidents whose names contain one of the words, or all of them without words.
fn chosen(words: &[String]) -> Vec<&'static Accident> {
    let mut filters = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if harness::only_asks(word) {
            return Vec::new();
        }
        if !harness::skip_flag(word, &mut words) {
            filters.push(word.as_str());
        }
    }
    let is_chosen = |accident: &Accident| {
        let matches =
            |filter: &&str| "accidents".contains(filter) || accident.name.contains(filter);
        filters.is_empty() || filters.iter().any(matches)
    };
    ACCIDENTS.iter().filter(|accident| is_chosen(accident)).collect()
}
