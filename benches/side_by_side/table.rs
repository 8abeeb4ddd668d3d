use std::time::Duration;

/// The table that is printed at the end: a row for each property, a column for each program.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<'a>(programs: impl Iterator<Item = &'a str>) -> Self {
        let mut head = vec![String::new()];
        head.extend(programs.map(str::to_owned));
        head.push("to reach".to_owned());
        Self { rows: vec![head] }
    }

    /// Adds a row, and prints it at once, since the whole run takes long.
    pub(crate) fn add(&mut self, property: &str, cells: Vec<String>, target: &str) {
        let mut row = vec![property.to_owned()];
        row.extend(cells);
        row.push(target.replace('|', "\\|"));
        eprintln!("{}", row.join(" | "));
        self.rows.push(row);
    }

    /// The table in Markdown, with aligned columns. Empty without rows.
    pub(crate) fn text(&self) -> String {
        if self.rows.len() == 1 {
            return String::new();
        }
        let columns = self.rows[0].len();
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut lines: Vec<String> = self.rows.iter().map(|row| line(row, &widths, ' ')).collect();
        lines.insert(1, line(&vec![String::new(); columns], &widths, '-'));
        lines.join("\n")
    }
}

fn line(row: &[String], widths: &[usize], fill: char) -> String {
    let cells = row.iter().zip(widths).map(|(cell, width)| {
        let padding = fill.to_string().repeat(width - cell.chars().count());
        format!("{fill}{cell}{padding}{fill}")
    });
    format!("|{}|", cells.collect::<Vec<_>>().join("|"))
}

pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

pub(crate) fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// Formats bytes as MiB.
#[expect(clippy::cast_precision_loss)]
pub(crate) fn mib(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib < 10.0 { format!("{mib:.2} MiB") } else { format!("{mib:.0} MiB") }
}

#[expect(clippy::cast_precision_loss)]
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// The value that `percent` percent of the values do not exceed.
pub(crate) fn percentile(values: &mut [Duration], percent: usize) -> Duration {
    values.sort_unstable();
    let last = values.len() - 1;
    values[(last * percent).div_ceil(100)]
}
