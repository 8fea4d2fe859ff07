//! Tables for people, JSON for programs.

use std::io::Write as _;

use clap::ValueEnum;
use serde::Serialize;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Table,
    Json,
}

/// One row type of a listing.
pub trait Row: Serialize {
    const HEAD: &'static [&'static str];
    fn cells(&self) -> Vec<String>;
}

/// Prints a line or more. A reader that closed the pipe early has read enough: that is no error.
pub fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// The listing as text, with a line break at the end.
pub fn render<R: Row>(rows: &[R], format: Format) -> anyhow::Result<String> {
    match format {
        Format::Json => Ok(serde_json::to_string_pretty(rows)? + "\n"),
        Format::Table => Ok(table(R::HEAD, &rows.iter().map(Row::cells).collect::<Vec<_>>())),
    }
}

fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head.get(column).map_or(0, |h| h.len())]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            text.push_str(&format!("{cell:<width$}  "));
        }
        text.trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut head.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

/// Milliseconds as the two largest units: `59m 3s`.
pub fn short_duration(ms: u64) -> String {
    let seconds = ms / 1000;
    let (d, h, m, s) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match (d, h, m) {
        (0, 0, 0) => format!("{s}s"),
        (0, 0, _) => format!("{m}m {s}s"),
        (0, ..) => format!("{h}h {m}m"),
        _ => format!("{d}d {h}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Pair(&'static str, u32);

    impl Row for Pair {
        const HEAD: &'static [&'static str] = &["NAME", "N"];
        fn cells(&self) -> Vec<String> {
            vec![self.0.into(), self.1.to_string()]
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let text = table(Pair::HEAD, &[Pair("a-long-name", 7).cells(), Pair("b", 12).cells()]);
        assert_eq!(text, "NAME         N\na-long-name  7\nb            12\n");
    }

    #[test]
    fn an_empty_listing_is_an_empty_json_array() {
        assert_eq!(render::<Pair>(&[], Format::Json).unwrap(), "[]\n");
    }

    #[test]
    fn durations_show_their_two_largest_units() {
        assert_eq!([3_000, 63_000, 3_780_000, 90_000_000].map(short_duration), ["3s", "1m 3s", "1h 3m", "1d 1h"]);
    }
}
