//! Plain tables and numbers for people.

use std::fmt::Write as _;

/// Rows of text under a header; columns are as wide as their widest entry.
pub struct Table {
    rows: Vec<Vec<String>>,
    /// Columns with numbers, which stand at the right.
    right: Vec<bool>,
}

impl Table {
    /// A header; columns whose title begins with `>` stand at the right.
    pub fn new(header: &[&str]) -> Table {
        let right = header.iter().map(|h| h.starts_with('>')).collect();
        let titles = header.iter().map(|h| h.trim_start_matches('>').to_owned()).collect();
        Table { rows: vec![titles], right }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub fn render(&self) -> String {
        let width = |column: usize| {
            self.rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.right.len()).map(width).collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, width), right) in row.iter().zip(&widths).zip(&self.right) {
                // Writing to a String cannot fail.
                let _ =
                    if *right { write!(line, "{cell:>width$}  ") } else { write!(line, "{cell:<width$}  ") };
            }
            let _ = writeln!(out, "{}", line.trim_end());
        }
        out
    }
}

/// `178.10 M`, `12.30 k`, `987`.
pub fn count(value: f64) -> String {
    for (from, unit, name) in [(1e12, 1e12, "T"), (1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")] {
        if value.abs() >= from {
            return format!("{:.2} {name}", value / unit);
        }
    }
    format!("{value}")
}

/// `12.5 MiB`
pub fn bytes(value: u64) -> String {
    for (limit, unit) in [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if value >= limit {
            return format!("{:.1} {unit}", value as f64 / limit as f64);
        }
    }
    format!("{value} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["name", ">size"]);
        table.row(["a".into(), "100".into()]);
        table.row(["long".into(), "7".into()]);
        assert_eq!(table.render(), "name  size\na      100\nlong     7\n");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!((count(987.0), count(12_300.0)), ("987".into(), "12.30 k".into()));
        assert_eq!((count(178.1e6), bytes(512)), ("178.10 M".into(), "512 B".into()));
        assert_eq!(bytes(3 << 19), "1.5 MiB");
    }
}
