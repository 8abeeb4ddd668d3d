use std::fmt;

use crate::accident::Accident;
use crate::contender::Contender;
use crate::outcome::Outcome;

/// The table of all outcomes, as in the README.
pub(crate) struct Table<'a> {
    accidents: &'a [&'static Accident],
    contenders: &'a [Contender],
    outcomes: Vec<Vec<Outcome>>,
}

impl<'a> Table<'a> {
    /// A row of `outcomes` for each accident.
    pub(crate) fn new(
        accidents: &'a [&'static Accident],
        contenders: &'a [Contender],
        outcomes: Vec<Vec<Outcome>>,
    ) -> Self {
        Self { accidents, contenders, outcomes }
    }

    /// How many of the accidents a contender has survived.
    pub(crate) fn survived(&self, contender: Contender) -> usize {
        let column = self.contenders.iter().position(|other| *other == contender);
        let survived = |row: &&Vec<Outcome>| column.is_some_and(|column| row[column].survived);
        self.outcomes.iter().filter(survived).count()
    }

    fn cells(&self) -> Vec<Vec<String>> {
        let mut head = vec!["accident".to_owned()];
        head.extend(self.contenders.iter().map(ToString::to_string));
        let mut cells = vec![head];
        for (accident, outcomes) in self.accidents.iter().zip(&self.outcomes) {
            let mut row = vec![accident.title.to_owned()];
            row.extend(outcomes.iter().map(|outcome| outcome.text.clone()));
            cells.push(row);
        }
        let mut foot = vec!["survived".to_owned()];
        foot.extend(
            self.contenders.iter().map(|contender| {
                format!("{} of {}", self.survived(*contender), self.accidents.len())
            }),
        );
        cells.push(foot);
        cells
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = self.cells();
        let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<usize> = (0..cells[0].len()).filter_map(width).collect();
        for (number, row) in cells.iter().enumerate() {
            for (cell, &width) in row.iter().zip(&widths) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")?;
            if number == 0 {
                for width in &widths {
                    write!(f, "|{}", "-".repeat(width + 2))?;
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}
