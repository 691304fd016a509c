//! Defoci, those of one tilt per line: underfocus in Angstrom, positive below focus, as many on each line as there are
//! images of a tilt.

use super::{content, number, read_text, write_lines};
use crate::Result;
use std::path::Path;

const EXPECTED: &str = "underfocus in Angstrom, as many numbers as on the other lines";
/// No microscope is further from focus: a centimetre.
const MAX_ANGSTROM: f64 = 1e8;

/// Reads a file: underfocus by tilt and image.
///
/// # Errors
/// [`crate::Error::Content`] names the line that is none, [`crate::Error::File`] if the system refuses.
pub fn read(path: &Path) -> Result<Vec<Vec<f64>>> {
    parse(path, &read_text(path)?)
}

/// Writes a file.
///
/// # Errors
/// As [`read`], for what could not be read again.
pub fn write(path: &Path, underfocus_angstrom: &[Vec<f64>]) -> Result<()> {
    let line = |foci: &Vec<f64>| foci.iter().map(f64::to_string).collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = underfocus_angstrom.iter().map(line).collect();
    parse(path, &lines.join("\n"))?;
    write_lines(path, lines)
}

fn parse(path: &Path, text: &str) -> Result<Vec<Vec<f64>>> {
    let mut all: Vec<Vec<f64>> = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let field = format!("line {}", index + 1);
        let numbers = line.split_whitespace().map(|word| number(path, &field, word, EXPECTED));
        let numbers = numbers.collect::<Result<Vec<f64>>>()?;
        let is_odd = all.first().is_some_and(|first| first.len() != numbers.len());
        if is_odd || numbers.iter().any(|number| number.abs() > MAX_ANGSTROM) {
            return Err(content(path, field, line.trim(), EXPECTED));
        }
        all.push(numbers);
    }
    if all.is_empty() {
        return Err(content(path, "the number of tilts", 0, "at least 1"));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defoci_are_read_as_they_were_written_and_what_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.foci");
        let foci = vec![vec![1000.0, 2000.5], vec![-1003.25, 1e-3]];
        write(&path, &foci).unwrap();
        assert_eq!(read(&path).unwrap(), foci);
        for wrong in ["1 2 3", "1", "1 x", "1 nan", "1 2e9"] {
            let error = parse(&path, &format!("1 2\n\n{wrong}")).unwrap_err().to_string();
            assert!(error.contains("a.foci: line 3 is "), "{error}");
        }
        assert!(parse(&path, " \n").is_err() && write(&path, &[]).is_err());
    }
}
