//! A page to scroll through a volume in a browser, complete in one file: it needs no network and no server.
//!
//! The planes lie side by side in one PNG, which every browser can decode; a script takes the voxels from it and draws
//! slices along all three axes. Volumes longer than 256 voxels are reduced by averaging cubes, and the page says so.

use super::{Grey, Window};
use crate::{Error, Result, Shape, Stack, Volume};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// Voxels along an axis at most.
const LONGEST: usize = 256;
const PAGE: &str = include_str!("page.html");

/// The page of a volume: its title, and lines about where it comes from.
///
/// # Errors
/// [`Error::Parameter`] for a voxel size that is no length, and as [`Grey::to_png`].
pub fn page(
    volume: &Volume,
    voxel_angstrom: f64,
    window: Window,
    title: &str,
    notes: &[String],
) -> Result<String> {
    if !(voxel_angstrom.is_finite() && voxel_angstrom > 0.0) {
        return Err(Error::parameter("voxel size", voxel_angstrom, "positive, in Angstrom"));
    }
    let whole = volume.shape();
    let factor = whole.to_array().into_iter().max().unwrap_or(1).div_ceil(LONGEST);
    let reduced = reduce(volume, factor);
    let Shape { planes, rows, columns } = reduced.as_ref().unwrap_or(volume).shape();
    let across = (planes as f64).sqrt().ceil() as usize;
    let mut mosaic = Grey::new(across * columns, planes.div_ceil(across) * rows, 0);
    let source = reduced.as_ref().unwrap_or(volume);
    for plane in 0..planes {
        let (left, top) = (plane % across * columns, plane / across * rows);
        for row in 0..rows {
            for column in 0..columns {
                mosaic.set(left + column, top + row, window.grey(source.at(plane, row, column)));
            }
        }
    }
    let facts = json!({
        "title": title, "notes": notes, "shape": whole.to_array(), "reduced": [planes, rows, columns],
        "factor": factor, "voxel_angstrom": voxel_angstrom, "across": across,
        "low": window.low, "high": window.high,
        "mosaic": format!("data:image/png;base64,{}", STANDARD.encode(mosaic.to_png()?)),
    });
    // A script ends at its closing tag, wherever that stands.
    Ok(PAGE.replacen("\"FACTS\"", &facts.to_string().replace('<', "\\u003c"), 1))
}

/// The means of cubes of so many voxels; what remains at an end is the mean of fewer. None for cubes of one.
fn reduce(volume: &Volume, factor: usize) -> Option<Volume> {
    if factor <= 1 {
        return None;
    }
    let shape = volume.shape();
    let [planes, rows, columns] = shape.to_array().map(|extent| extent.div_ceil(factor));
    let range = |index: usize, extent: usize| index * factor..((index + 1) * factor).min(extent);
    Some(Stack::from_fn(Shape { planes, rows, columns }, |z, y, x| {
        let (mut sum, mut count) = (0.0_f64, 0_u32);
        for plane in range(z, shape.planes) {
            for row in range(y, shape.rows) {
                for column in range(x, shape.columns) {
                    sum += f64::from(volume.at(plane, row, column));
                    count += 1;
                }
            }
        }
        (sum / f64::from(count)) as f32
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    #[test]
    fn a_page_is_complete_and_cannot_be_broken_by_its_title() {
        let volume = noise(Shape::new(5, 17, 9).unwrap(), 1);
        let notes = vec!["plan </script><b>".to_owned()];
        let page = page(&volume, 2.5, Window::of(&volume), "a <b> & \"c\"", &notes).unwrap();
        assert_eq!(page.matches("</script>").count(), 1, "the page's own");
        assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("FACTS"));
        assert!(page.contains("data:image/png;base64,iVBOR"));
        assert!(super::page(&volume, f64::NAN, Window::of(&volume), "", &[]).is_err());
    }

    /// What a user does, in a browser: keys, the wheel, a slider; and what the page says of the voxel that they lead to.
    const USER: &str = r#"<script>
        setTimeout(() => {
          const seen = [];
          const see = () => seen.push(byId("here").textContent);
          see();
          window.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowUp" })); see();
          views[0].over.dispatchEvent(new WheelEvent("wheel", { deltaY: 1 })); see();
          views[1].over.dispatchEvent(new WheelEvent("wheel", { deltaY: -1 })); see();
          views[2].slider.value = 0;
          views[2].slider.dispatchEvent(new Event("input")); see();
          document.title = seen.join(" ");
        }, 500);
        </script>"#;

    #[test]
    fn keys_wheel_and_sliders_lead_to_the_voxels_that_they_say() {
        // Every voxel's value tells where it is, and is a grey value.
        let volume = Stack::from_fn(Shape::new(5, 6, 7).unwrap(), |z, y, x| (z * 42 + y * 7 + x) as f32);
        let text = page(&volume, 2.0, Window { low: 0.0, high: 255.0 }, "a volume", &[]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("page.html");
        std::fs::write(&file, text + USER).unwrap();
        let browse = |browser: &str| {
            std::process::Command::new(browser)
                .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000"])
                .args(["--dump-dom", &format!("file://{}", file.display())])
                .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
                .output()
        };
        let browsers = ["chromium", "chromium-browser", "google-chrome"];
        let Some(seen) = browsers.into_iter().find_map(|browser| browse(browser).ok()) else {
            println!("skipped: there is no browser of {browsers:?}");
            return;
        };
        let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
        let title = seen.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next());
        // The middle; a plane up by key; a plane down by wheel; a column right by wheel; the first row by slider.
        let at = |z: usize, y: usize, x: usize| (z * 42 + y * 7 + x).to_string();
        let expected = [at(2, 3, 3), at(3, 3, 3), at(2, 3, 3), at(2, 3, 4), at(2, 0, 4)].join(" ");
        assert_eq!(title, Some(expected.as_str()), "{seen}");
    }

    #[test]
    fn long_volumes_are_averaged() {
        let volume = Stack::from_fn(Shape::new(2, 3, 600).unwrap(), |_, _, x| x as f32);
        let reduced = reduce(&volume, 3).unwrap();
        assert_eq!(reduced.shape().to_array(), [1, 1, 200]);
        assert_eq!(reduced.at(0, 0, 7), 22.0);
        let uneven = reduce(&volume, 7).unwrap();
        assert_eq!((uneven.shape().columns, uneven.at(0, 0, 85)), (86, 597.0));
        assert!(reduce(&volume, 1).is_none());
    }
}
