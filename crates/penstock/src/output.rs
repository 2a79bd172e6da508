//! Standard output and standard error of the commands: a reader that goes away early is no failure.

use std::io::{ErrorKind, Write};

/// Writes a text to standard output. `penstock crds | head` must not end in an error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot write to standard output"))
        }
        _ => Ok(()),
    }
}

/// Says why a command failed, in one line.
pub(crate) fn error(sentence: &str) {
    // Without a standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "penstock: {sentence}");
}

/// Columns as wide as their widest cell, two spaces apart, without spaces at the end of a line.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column)).map(|cell| cell.chars().count());
    let widths: Vec<usize> = header
        .iter()
        .enumerate()
        .map(|(column, title)| cells(column).chain([title.chars().count()]).max().unwrap_or_default())
        .collect();
    let line = |row: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = row.zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(&mut header.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["edge/shop".to_owned(), "443".to_owned()], vec!["ä".to_owned(), String::new()]];
        assert_eq!(table(&["GATEWAY", "PORT"], &rows), "GATEWAY    PORT\nedge/shop  443\nä\n");
    }
}
