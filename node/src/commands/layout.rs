//! Columns and sizes as Kubo prints them.

/// Lines of cells, aligned as Go's `tabwriter` does with one space of padding: the last cell of a line is outside of
/// any column, and a column ends where a line does not have it. No column is narrower than `width_min`.
pub(super) fn aligned<C: AsRef<str>>(lines: &[Vec<C>], width_min: usize) -> String {
    aligned_with_padding(lines, width_min, 1)
}

/// The same, with more spaces between columns.
pub(super) fn aligned_with_padding<C: AsRef<str>>(
    lines: &[Vec<C>],
    width_min: usize,
    padding: usize,
) -> String {
    let widths = widths(lines, width_min, padding);
    let mut out = String::new();
    for (line, widths) in lines.iter().zip(widths) {
        let mut widths = widths.into_iter();
        for cell in line {
            let cell = cell.as_ref();
            out.push_str(cell);
            if let Some(width) = widths.next() {
                out.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
            }
        }
        out.push('\n');
    }
    out
}

/// The widths of the columns of each line, padding included.
fn widths<C: AsRef<str>>(lines: &[Vec<C>], width_min: usize, padding: usize) -> Vec<Vec<usize>> {
    let columns = |line: &Vec<C>| line.len().saturating_sub(1);
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|line| Vec::with_capacity(columns(line))).collect();
    for column in 0..lines.iter().map(columns).max().unwrap_or(0) {
        for block in lines
            .iter()
            .zip(&mut widths)
            .collect::<Vec<_>>()
            .chunk_by_mut(|a, b| (columns(a.0) > column) == (columns(b.0) > column))
        {
            let cells = block.iter().filter(|(line, _)| columns(line) > column);
            let widest = cells
                .filter_map(|(line, _)| line.get(column))
                .map(|cell| cell.as_ref().chars().count() + padding);
            let width = widest.max().unwrap_or(0).max(width_min);
            for (_, widths) in block.iter_mut().filter(|(line, _)| columns(line) > column) {
                widths.push(width);
            }
        }
    }
    widths
}

/// A size in powers of 1,000: one digit after the point below ten of a unit, none above (`5.5 kB`, `83 MB`).
pub(super) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let (mut divisor, mut name) = (1_u128, "B");
    for unit in UNITS {
        if u128::from(bytes) < divisor * 1000 {
            break;
        }
        divisor *= 1000;
        name = unit;
    }
    // Rounded to tenths first, which decides whether a tenth is shown.
    let tenths = (u128::from(bytes) * 10 + divisor / 2) / divisor;
    if tenths < 100 {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    } else {
        format!("{} {name}", (tenths + 5) / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_block_needs() {
        let lines = [vec!["Hash", "Size", "Name"], vec!["Qmabc", "10", "a"], vec!["Qm", "-", "sub/"]];
        assert_eq!(aligned(&lines, 1), "Hash  Size Name\nQmabc 10   a\nQm    -    sub/\n");
        assert_eq!(aligned(&[vec!["Qmabc", "10", "a"]], 10), "Qmabc     10        a\n");
        let blocks = [vec!["x:"], vec!["long", "1"], vec![""], vec!["y:"], vec!["s", "2"]];
        assert_eq!(aligned(&blocks, 1), "x:\nlong 1\n\ny:\ns 2\n");
        assert_eq!(aligned(&[vec!["h", "9", ""]], 1), "h 9 \n");
    }

    #[test]
    fn sizes_are_decimal() {
        assert_eq!(human_bytes(0), "0 B");
        assert_eq!(human_bytes(5480), "5.5 kB");
        assert_eq!(human_bytes(82_854_982), "83 MB");
        assert_eq!(human_bytes(10_000_000_000), "10 GB");
        assert_eq!(human_bytes(u64::MAX), "18 EB");
    }
}
