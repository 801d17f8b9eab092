//! Columns for people.

/// Rows under headers, columns two spaces apart, nothing behind the last one.
pub(super) fn render<const N: usize>(headers: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = headers.map(|header| header.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |cells: [&str; N]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let body = rows
        .iter()
        .map(|row| line(row.each_ref().map(String::as_str)));
    std::iter::once(line(headers))
        .chain(body)
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up() {
        let rows = [
            ["a".to_owned(), "long".to_owned()],
            ["bcd".to_owned(), "é".to_owned()],
        ];
        assert_eq!(
            super::render(["ID", "NAME"], &rows),
            "ID   NAME\na    long\nbcd  é"
        );
        assert_eq!(super::render(["ID"], &[]), "ID");
    }
}
