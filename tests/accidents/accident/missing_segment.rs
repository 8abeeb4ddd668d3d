use std::fs;

use super::Accident;
use crate::contender::Contender;
use crate::outcome::Outcome;
use crate::segments::Segments;

pub(super) const ACCIDENT: Accident =
    Accident { name: "missing_segment", title: "A segment in the middle is missing", happen };

fn happen(contender: Contender) -> Outcome {
    let segments = Segments::write();
    let missing = segments.in_the_middle();
    fs::remove_file(&missing).unwrap();
    segments.restore(contender, &missing)
}
