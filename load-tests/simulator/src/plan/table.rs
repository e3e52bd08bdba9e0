//! Parses the two tables of foods and exercises: one row per line, fields
//! separated by `|`; lines with `#` are comments.

/// A malformed row of a table.
#[derive(Debug, thiserror::Error)]
#[error("{table} line {line}: {problem}")]
pub struct TableError {
    /// The file.
    pub table: &'static str,
    /// The line, from 1.
    pub line: usize,
    /// The problem.
    pub problem: String,
}

/// The fields of one line, parsed from left to right.
pub(super) struct Row<'a> {
    fields: std::str::Split<'a, char>,
}

impl<'a> Row<'a> {
    /// The next field as text.
    pub(super) fn text(&mut self) -> Result<&'a str, String> {
        self.fields.next().map(str::trim).ok_or_else(|| "a field is missing".to_owned())
    }

    /// The next field as a number.
    pub(super) fn number(&mut self) -> Result<f64, String> {
        let text = self.text()?;
        text.parse().map_err(|_| format!("{text:?} is no number"))
    }

    /// The next field as a list of words.
    pub(super) fn list(&mut self) -> Result<Vec<&'a str>, String> {
        Ok(self.text()?.split(',').filter(|word| !word.is_empty()).collect())
    }
}

/// Parses every row of `text` with `read`.
pub(super) fn rows<'a, T>(
    table: &'static str,
    text: &'a str,
    read: impl Fn(&mut Row<'a>) -> Result<T, String>,
) -> Result<Vec<T>, TableError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
    lines
        .map(|(index, line)| {
            let mut row = Row { fields: line.split('|') };
            let value = read(&mut row).and_then(|value| match row.fields.next() {
                Some(extra) => Err(format!("{extra:?} is a field too many")),
                None => Ok(value),
            });
            value.map_err(|problem| TableError { table, line: index + 1, problem })
        })
        .collect()
}
