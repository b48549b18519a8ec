//! Tables for people: aligned, without lines, no wider than the terminal.
//!
//! Where a table is too wide, the columns that matter least go first, then the longest texts are cut with `…`, or
//! broken into lines where their end matters. Colour only repeats what the words say.

/// On which side a column's texts stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    title: &'static str,
    side: Side,
    /// 0 stays; of the others the highest goes first.
    spare: u8,
    /// Whether a long text goes on in the next line instead of being cut.
    wraps: bool,
}

impl Column {
    /// A column of words that always stays.
    #[must_use]
    pub const fn left(title: &'static str) -> Self {
        Self { title, side: Side::Left, spare: 0, wraps: false }
    }

    /// A column of numbers that always stays.
    #[must_use]
    pub const fn right(title: &'static str) -> Self {
        Self { title, side: Side::Right, spare: 0, wraps: false }
    }

    /// The same, given up for want of space; the highest number first.
    #[must_use]
    pub const fn spare(mut self, order: u8) -> Self {
        self.spare = order;
        self
    }

    /// The same, with long texts broken into lines. Only the last column is.
    #[must_use]
    pub const fn wrapped(mut self) -> Self {
        self.wraps = true;
        self
    }

    /// The width below which others are shortened first.
    fn readable(&self) -> usize {
        if self.wraps { READABLE } else { SHORTEST }
    }
}

/// What a colour stresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// As it is.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// On its way.
    Busy,
    /// Look here.
    Bad,
    /// Less important.
    Quiet,
}

impl Tone {
    /// The text in this tone, if colour is wanted.
    #[must_use]
    pub fn paint(self, text: &str, colour: bool) -> String {
        let code = match self {
            Self::Plain => return text.to_owned(),
            Self::Good => "32",
            Self::Busy => "33",
            Self::Bad => "1;31",
            Self::Quiet => "2",
        };
        if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// One field.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A field in a tone.
    pub fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), tone: Tone::Plain }
    }
}

/// A row and the lines below it.
#[derive(Debug, Clone, Default)]
struct Row {
    cells: Vec<Cell>,
    notes: Vec<(String, Tone)>,
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Row>,
}

/// What stands before each line and between two columns.
const INDENT: usize = 2;
const GAP: usize = 2;

/// The width to which columns are cut, and to which wrapped ones are broken, before they become unreadable.
const SHORTEST: usize = 6;
const READABLE: usize = 28;

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(columns: Vec<Column>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row; fields without a column are left out.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(Row { cells, notes: Vec::new() });
    }

    /// Adds a line below the last row.
    pub fn note(&mut self, text: impl Into<String>, tone: Tone) {
        if let Some(row) = self.rows.last_mut() {
            row.notes.push((text.into(), tone));
        }
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, none longer than `width` characters (colour not counted).
    #[must_use]
    pub fn lines(&self, width: usize, colour: bool) -> Vec<String> {
        let kept = self.fit(width);
        let mut lines = Vec::new();
        let titles: Vec<Cell> = self.columns.iter().map(|column| Cell::toned(column.title, Tone::Quiet)).collect();
        lines.extend(self.row_lines(&titles, &kept, colour));
        for row in &self.rows {
            lines.extend(self.row_lines(&row.cells, &kept, colour));
            for (note, tone) in &row.notes {
                let lead = INDENT.saturating_add(GAP);
                for part in wrap(note, width.saturating_sub(lead)) {
                    lines.push(format!("{:lead$}{}", "", tone.paint(&part, colour)));
                }
            }
        }
        lines
    }

    /// The width of each column; none for those that are given up.
    fn fit(&self, width: usize) -> Vec<Option<usize>> {
        let natural = self.columns.iter().enumerate().map(|(position, column)| {
            let cells = self.rows.iter().filter_map(|row| row.cells.get(position));
            cells.map(|cell| count(&cell.text)).chain([count(column.title)]).max()
        });
        let mut kept: Vec<Option<usize>> = natural.collect();
        let total = |kept: &[Option<usize>]| {
            let widths = kept.iter().flatten().map(|width| width.saturating_add(GAP));
            widths.fold(INDENT.saturating_sub(GAP), usize::saturating_add)
        };
        loop {
            let excess = total(&kept).saturating_sub(width);
            if excess == 0 {
                return kept;
            }
            let columns = self.columns.iter().zip(kept.iter_mut());
            let spare = columns.filter(|(column, width)| column.spare > 0 && width.is_some());
            if let Some((_, width)) = spare.max_by_key(|(column, _)| column.spare) {
                *width = None;
                continue;
            }
            let widest = |minimum: fn(&Column) -> usize| {
                let columns = self.columns.iter().zip(&kept).enumerate();
                let shown = columns.filter_map(|(at, (column, width))| Some((at, (*width)?, minimum(column))));
                shown.filter(|(_, width, minimum)| width > minimum).max_by_key(|(_, width, _)| *width)
            };
            let Some((at, width, minimum)) = widest(Column::readable).or_else(|| widest(|_| SHORTEST)) else {
                return kept;
            };
            if let Some(kept) = kept.get_mut(at) {
                *kept = Some(width.saturating_sub(excess).max(minimum));
            }
        }
    }

    /// One line, and more where the last column is broken.
    fn row_lines(&self, cells: &[Cell], kept: &[Option<usize>], colour: bool) -> Vec<String> {
        let mut line = " ".repeat(INDENT);
        let mut behind = Vec::new();
        let mut offset = INDENT;
        let fields = self.columns.iter().zip(kept).zip(cells);
        let shown: Vec<_> = fields.filter_map(|((column, width), cell)| Some((column, (*width)?, cell))).collect();
        let last = shown.len().saturating_sub(1);
        for (position, (column, width, cell)) in shown.into_iter().enumerate() {
            let text = if column.wraps && position == last {
                let mut parts = wrap(&cell.text, width).into_iter();
                let first = parts.next().unwrap_or_default();
                behind = parts.map(|part| format!("{:offset$}{}", "", cell.tone.paint(&part, colour))).collect();
                first
            } else {
                cut(&cell.text, width)
            };
            offset = offset.saturating_add(width).saturating_add(GAP);
            let padding = " ".repeat(width.saturating_sub(count(&text)));
            let painted = cell.tone.paint(&text, colour);
            match column.side {
                Side::Right => line.extend([padding.as_str(), painted.as_str()]),
                Side::Left if position == last => line.push_str(&painted),
                Side::Left => line.extend([painted.as_str(), padding.as_str()]),
            }
            if position != last {
                line.push_str(&" ".repeat(GAP));
            }
        }
        behind.insert(0, line);
        behind
    }
}

/// The number of characters, which is the width of everything that is shown here.
#[must_use]
pub fn count(text: &str) -> usize {
    text.chars().count()
}

/// The text, cut to a width.
#[must_use]
pub fn cut(text: &str, width: usize) -> String {
    if count(text) <= width {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(width.saturating_sub(1)).collect();
    out.push('…');
    out
}

/// The text in lines of at most this width, broken at spaces; words that are longer are cut.
#[must_use]
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    if count(text) <= width {
        return vec![text.to_owned()];
    }
    let mut lines = vec![String::new()];
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let word = cut(word, width.max(1));
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(&word),
            Some(line) if count(line).saturating_add(count(&word)) < width => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Table {
        let columns = vec![Column::left("NAME"), Column::left("WHERE").spare(1), Column::right("COUNT")];
        let mut table = Table::new(columns);
        table.row(vec!["orders".into(), "qingdao".into(), "1,204".into()]);
        table.note("a note that is longer than the narrow table", Tone::Bad);
        table.row(vec![Cell::toned("a-name-that-is-quite-long", Tone::Good), "x".into(), "7".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_then_given_up_then_cut() {
        let wide = [
            "  NAME                       WHERE    COUNT",
            "  orders                     qingdao  1,204",
            "    a note that is longer than the narrow table",
            "  a-name-that-is-quite-long  x            7",
        ];
        assert_eq!(sample().lines(80, false), wide);
        let narrow = [
            "  NAME           COUNT",
            "  orders         1,204",
            "    a note that is",
            "    longer than the",
            "    narrow table",
            "  a-name-that-…      7",
        ];
        assert_eq!(sample().lines(22, false), narrow);
    }

    #[test]
    fn a_wrapped_column_loses_nothing_and_stays_readable() {
        let columns = vec![Column::left("WHAT"), Column::left("FOUND").wrapped()];
        let mut table = Table::new(columns);
        table.row(vec!["a-name-that-is-quite-long".into(), "connection refused by the far end".into()]);
        let narrow =
            ["  WHAT             FOUND", "  a-name-that-is…  connection refused by the", "                   far end"];
        assert_eq!(table.lines(47, false), narrow);
        assert!(table.lines(20, false).iter().all(|line| count(line) <= 20));
        assert_eq!(table.lines(200, false).len(), 2);
    }

    #[test]
    fn colour_is_there_only_when_it_is_wanted() {
        let lines = sample().lines(80, true).join("\n");
        assert!(lines.contains("\u{1b}[32ma-name-that-is-quite-long\u{1b}[0m"));
        assert!(!sample().lines(80, false).join("").contains('\u{1b}'));
    }

    proptest! {
        #[test]
        fn no_line_is_longer_than_the_terminal(
            rows in proptest::collection::vec(proptest::collection::vec("[a-zß ]{0,30}", 3), 0..5),
            note in "[a-z ]{0,60}",
            width in 24_usize..130,
        ) {
            let mut table = sample();
            for cells in rows {
                table.row(cells.into_iter().map(Cell::from).collect());
                table.note(note.clone(), Tone::Plain);
            }
            for line in table.lines(width, false) {
                prop_assert!(count(&line) <= width, "{line:?}");
            }
        }
    }
}
