//! Text tables.

use std::fmt;

/// Rows of cells under a head, aligned: the first column to the left, numbers to the right.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    /// Columns from the left that hold words.
    words: usize,
}

impl Table {
    pub(crate) fn new<const N: usize>(words: usize, head: [&str; N]) -> Table {
        Table { rows: vec![head.map(str::to_owned).to_vec()], words }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.rows[0].len());
        self.rows.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows[0].len();
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                line += if column == 0 { "  " } else { "   " };
                line += &if column < self.words { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
            }
            writeln!(f, "{}", line.trim_end())?;
            if number == 0 {
                writeln!(f, "  {}", "-".repeat(widths.iter().sum::<usize>() + 3 * (columns - 1)))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_and_numbers_right() {
        let mut table = Table::new(1, ["name", "ns"]);
        table.row(vec!["a".to_owned(), "10.5".to_owned()]);
        assert_eq!(table.to_string(), "  name     ns\n  -----------\n  a      10.5\n");
    }
}
