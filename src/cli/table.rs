//! Tables without boxes: headers in capitals, two spaces between columns, numbers to the right.
use anstyle::Style;

use crate::cli::term::{DIM, Look, PLAIN};

/// The alignment of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// One field of a table.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Returns a cell with a style.
    pub(super) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self {
            text: text.into(),
            style,
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(text, PLAIN)
    }
}

/// A table: rows under a header.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<Cell>>,
    indent: usize,
}

/// The least width of a column that is cut.
const MIN_COLUMN_WIDTH: usize = 6;

impl Table {
    /// Returns a table with these columns.
    pub(super) fn new(columns: &[(&'static str, Align)], indent: usize) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
            indent,
        }
    }

    /// Adds a row with a cell for each column.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Renders the table. On a terminal it fits the width: the first and the last column keep their text, the widest between them is cut.
    pub(super) fn render(&self, look: &Look) -> String {
        let mut widths: Vec<usize> = self
            .columns
            .iter()
            .map(|(title, _)| title.chars().count())
            .collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        if let Some(most) = look.width {
            self.fit(&mut widths, most);
        }
        let header: Vec<Cell> = self
            .columns
            .iter()
            .map(|(title, _)| Cell::styled(*title, DIM))
            .collect();
        std::iter::once(&header)
            .chain(&self.rows)
            .map(|row| self.line(row, &widths, look))
            .collect()
    }

    fn fit(&self, widths: &mut [usize], most: usize) {
        let last = widths.len().saturating_sub(1);
        let mut total = self.indent + 2 * last + widths.iter().sum::<usize>();
        while total > most {
            let middle = widths
                .iter_mut()
                .enumerate()
                .filter(|(index, width)| *index > 0 && *index < last && **width > MIN_COLUMN_WIDTH);
            let Some((_, widest)) = middle.max_by_key(|(_, width)| **width) else {
                break;
            };
            *widest -= 1;
            total -= 1;
        }
    }

    fn line(&self, row: &[Cell], widths: &[usize], look: &Look) -> String {
        let mut line = " ".repeat(self.indent);
        let mut owed = 0;
        for (index, ((cell, width), (_, align))) in
            row.iter().zip(widths).zip(&self.columns).enumerate()
        {
            let text = cut(&cell.text, *width, look);
            let free = width.saturating_sub(text.chars().count());
            let (before, after) = if *align == Align::Right {
                (free, 0)
            } else {
                (0, free)
            };
            let gap = if index > 0 { 2 } else { 0 };
            // spaces are written only before text, so that no line ends in spaces
            owed += gap + before;
            if !text.is_empty() {
                line.push_str(&" ".repeat(owed));
                owed = 0;
                let style = cell.style;
                line.push_str(&format!("{style}{text}{style:#}"));
            }
            owed += after;
        }
        line.push('\n');
        line
    }
}

/// Cuts a text to `width` characters.
pub(super) fn cut(text: &str, width: usize, look: &Look) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let ellipsis = if look.utf8 { "…" } else { "~" };
    text.chars()
        .take(width.saturating_sub(1))
        .chain(ellipsis.chars())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(width: Option<usize>) -> Look {
        Look {
            width,
            utf8: true,
            zone: jiff::tz::TimeZone::UTC,
        }
    }

    #[test]
    fn middle_columns_are_cut() {
        let mut table = Table::new(
            &[
                ("ID", Align::Left),
                ("NOTE", Align::Left),
                ("N", Align::Right),
                ("WHY", Align::Left),
            ],
            0,
        );
        table.row([
            "first".into(),
            "a rather long note".into(),
            "1,204".into(),
            "because".into(),
        ]);
        table.row(["x".into(), "".into(), "7".into(), "".into()]);
        let shown = |width| anstream::adapter::strip_str(&table.render(&look(width))).to_string();
        assert_eq!(
            shown(None),
            "ID     NOTE                    N  WHY\nfirst  a rather long note  1,204  because\nx                              7\n"
        );
        assert_eq!(
            shown(Some(34)),
            "ID     NOTE             N  WHY\nfirst  a rather l…  1,204  because\nx                       7\n"
        );
    }
}
