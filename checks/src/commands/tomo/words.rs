//! Numbers as they are given on the command line, and as people read them.

/// Numbers between commas.
fn numbers<T: std::str::FromStr, const N: usize>(text: &str, expected: &str) -> Result<[T; N], String> {
    let numbers: Result<Vec<T>, _> = text.split(',').map(|number| number.trim().parse()).collect();
    numbers.ok().and_then(|numbers| numbers.try_into().ok()).ok_or_else(|| format!("expected {expected}"))
}

/// `X,Y,Z`, each at least 1.
pub(super) fn extents(text: &str) -> Result<[usize; 3], String> {
    let extents = numbers(text, "three numbers of voxels, as 96,64,48")?;
    if extents.contains(&0) { Err("no extent may be 0".into()) } else { Ok(extents) }
}

/// `X,Y,Z`, from 0.
pub(super) fn place(text: &str) -> Result<[usize; 3], String> {
    numbers(text, "three indices from 0, as 48,32,24")
}

/// `LOW,HIGH`.
pub(super) fn window(text: &str) -> Result<[f32; 2], String> {
    let window: [f32; 2] = numbers(text, "two values, as 0,25")?;
    if window[0] < window[1] { Ok(window) } else { Err("the first must be less than the second".into()) }
}

/// `ROWS` or `ROWS,COLUMNS`; columns are then `None`.
pub(super) fn rows_and_columns(text: &str) -> Result<(usize, Option<usize>), String> {
    const EXPECTED: &str = "rows, or rows and columns, as 32 or 32,64";
    if text.contains(',') {
        let [rows, columns] = numbers(text, EXPECTED)?;
        return Ok((rows, Some(columns)));
    }
    let [rows] = numbers(text, EXPECTED)?;
    Ok((rows, None))
}

/// Tilt angles: `FROM:TO:STEP`, or angles between commas.
pub(super) fn angles(text: &str) -> Result<Vec<f64>, String> {
    const EXPECTED: &str = "angles in degrees, as -60:60:3 or -60,-57,0";
    const MAX: f64 = 10_000.0;
    if !text.contains(':') {
        let angles: Result<Vec<f64>, _> = text.split(',').map(|angle| angle.trim().parse()).collect();
        return angles.map_err(|_| format!("expected {EXPECTED}"));
    }
    let parts: Result<Vec<f64>, _> = text.split(':').map(|part| part.trim().parse()).collect();
    let Ok([from, to, step]) = parts.as_deref() else { return Err(format!("expected {EXPECTED}")) };
    let count = ((to - from) / step + 1e-9).floor() + 1.0;
    if !(1.0..=MAX).contains(&count) {
        return Err(format!("{text} has no angles, or too many; expected {EXPECTED}"));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was compared")]
    let count = count as u32;
    Ok((0..count).map(|index| from + f64::from(index) * step).collect())
}

/// A number of bytes, as `2GiB`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let units = [
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("GiB", 1_073_741_824.0),
        ("TiB", 1_099_511_627_776.0),
        ("kB", 1e3),
        ("MB", 1e6),
        ("GB", 1e9),
        ("TB", 1e12),
        ("K", 1024.0),
        ("M", 1_048_576.0),
        ("G", 1_073_741_824.0),
        ("B", 1.0),
        ("", 1.0),
    ];
    let value = units.iter().find_map(|(unit, bytes)| {
        let number: f64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        Some(number * bytes)
    });
    match value {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was compared")]
        Some(bytes) if (1.0..1e18).contains(&bytes) => Ok(bytes as u64),
        _ => Err("expected a size, as 2GiB or 500MB".into()),
    }
}

/// Bytes as people read them.
#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(super) fn bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = usize::from(unit > 0 && value < 100.0);
    format!("{value:.decimals$} {}", units[unit])
}

/// A duration as people read it.
pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn angles_are_given_as_a_range_or_one_by_one() {
        assert_eq!(angles("-60:60:30").unwrap(), [-60.0, -30.0, 0.0, 30.0, 60.0]);
        assert_eq!(angles("-1:1:0.1").unwrap().len(), 21);
        assert_eq!(angles("3:-3:-3").unwrap(), [3.0, 0.0, -3.0]);
        assert_eq!(angles("-1.5, 2").unwrap(), [-1.5, 2.0]);
        for wrong in ["", "a", "1:2", "1:2:0", "1:0:1", "0:1e9:1", "1,,2"] {
            assert!(angles(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_read_and_written() {
        assert_eq!(size("2GiB").unwrap(), 2 << 30);
        assert_eq!(size("1.5 MiB").unwrap(), 3 << 19);
        assert_eq!(size("500MB").unwrap(), 500_000_000);
        assert_eq!(size("17").unwrap(), 17);
        for wrong in ["", "GiB", "-1GiB", "0", "2 bananas", "nan"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        assert_eq!([bytes(999), bytes(2 << 30), bytes(150 << 20)], ["999 B", "2.0 GiB", "150 MiB"]);
        assert_eq!(duration(90.0), "90 s");
        assert_eq!(rows_and_columns("32").unwrap(), (32, None));
        assert_eq!(rows_and_columns("32,64").unwrap(), (32, Some(64)));
        assert!(rows_and_columns("32,64,1").is_err() && extents("1,0,1").is_err() && window("2,1").is_err());
    }
}
