use std::io::{self, Write};

use serde_json::Value;

use super::logging;

/// A line of a table.
pub(super) trait Row {
    const HEADER: &'static [&'static str];

    fn cells(&self) -> Vec<String>;

    fn json(&self) -> Value;
}

/// Prints a table, or its rows as a JSON array.
pub(super) fn print_rows<R: Row>(rows: &[R], json: bool) -> io::Result<()> {
    if json {
        let rows = Value::Array(rows.iter().map(Row::json).collect());
        print(&format!("{rows:#}\n"))
    } else {
        let mut lines = vec![R::HEADER.iter().map(|&name| name.to_owned()).collect()];
        lines.extend(rows.iter().map(Row::cells));
        print(&table(&lines))
    }
}

/// Formats columns with two spaces between them.
fn table(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell: &String| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in lines {
        for (column, cell) in line.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < line.len() {
                let padding = widths[column] - cell.chars().count() + 2;
                text.extend(std::iter::repeat_n(' ', padding));
            }
        }
        text.push('\n');
    }
    text
}

/// Writes to standard output. It is not an error if nobody reads it any more.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Writes an error to standard error in one line, whatever the message consists of.
pub(super) fn print_error(message: &str) {
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    print_note(&logging::error_line(&message).unwrap_or_else(|| format!("error: {message}")));
}

/// Writes a line to standard error.
pub(super) fn print_note(line: &str) {
    // There is nowhere left to report that this failed.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_columns_as_litestream_does() {
        let lines = [
            &["replica", "generation", "index"][..],
            &["file", "67c3797361749ad0", "0"],
            &["ä", "x", "12"],
        ];
        let lines = lines.map(|line| line.iter().map(|&cell| cell.to_owned()).collect());
        let expected = "\
replica  generation        index
file     67c3797361749ad0  0
ä        x                 12
";
        assert_eq!(table(&lines), expected);
    }
}
