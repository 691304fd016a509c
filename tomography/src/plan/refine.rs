//! Shifts of images and defoci of tilts that were recorded other than they were noted, found by comparing the images with
//! those that a volume predicts.
//!
//! To first order an image that is shifted by s, and recorded d further from focus, differs from the predicted one by
//! `-s . grad P + d dP/dd`. The s and d of a tilt are the least-squares solution over all pixels of its images
//! (Gauss and Newton), after a search over whole pixels, and again at what was found. Sums along rays are compared up to
//! a factor and a constant, which iterations that were stopped early leave open; waves by their amplitudes. `dP/dd` is a
//! central difference over a distance that turns the highest frequency by a fifth of a radian.
//!
//! A volume and its images can be shifted together, so the tilt nearest to 0 degrees stays where it is. What is found is
//! one number for a tilt, of the whole volume: blocks that had their own would no longer be parts of one whole. So a
//! volume made of blocks is stitched first, and what is found goes into the plan of the next reconstruction.
//!
//! Source: Ren et al., Ultramicroscopy 208 (2020) 112860, section 2 (refinement of shifts and defocus).

use super::{Model, Spec};
use crate::align::Place;
use crate::wave::Focus;
use crate::{Error, Projections, Result, Shape, Volume};
use rayon::prelude::*;

/// How often shift and defocus are solved for anew.
const ROUNDS: usize = 3;
/// Steps of the shift at one prediction.
const STEPS: usize = 3;
/// Half the rows and columns that images must have in common with the prediction at the largest shift: none at all would
/// leave nothing to compare.
const LEAST_PX: usize = 4;
/// The phase in radian by which a change of focus may turn the highest frequency of an image for its derivative.
const TURN: f64 = 0.2;

/// What is wrong with a tilt.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Correction {
    /// By how many pixels its images lie too far along x' and y.
    pub shift_px: [f64; 2],
    /// By how much they were recorded further downstream than was noted, in Angstrom; 0 for straight rays.
    pub distance_angstrom: f64,
}

/// What may be found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Refinement {
    /// The largest shift along either axis that is looked for, in pixels; 0 leaves shifts alone.
    pub shift_max_px: usize,
    /// Whether defoci are looked for; of waves.
    pub foci: bool,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Refined {
    /// Of each tilt.
    pub corrections: Vec<Correction>,
    /// The root mean square of what images and prediction differ by: as noted, and before the last round of corrections.
    pub misfit: [f64; 2],
}

impl Spec {
    /// What is wrong with the alignment and the foci of this spec, if `volume` is right; `images` are prepared by it.
    ///
    /// # Errors
    /// [`Error::Shape`] if volume or images are not of the spec, [`Error::Parameter`] if images are too small for shifts so
    /// large, and those of the model.
    pub fn refine(&self, volume: &Volume, images: &Projections, what: Refinement) -> Result<Refined> {
        volume.check_shape("volume to compare with", self.volume)?;
        let shape = Shape { planes: self.images(), rows: self.volume.rows, columns: self.pixels };
        images.check_shape("images to compare with", shape)?;
        if shape.rows.min(shape.columns) < what.shift_max_px.saturating_add(LEAST_PX).saturating_mul(2) {
            let expected = "less than half of the rows and columns of the images, by at least 4";
            return Err(Error::parameter("largest shift", what.shift_max_px, expected));
        }
        let waves = self.model != Model::Linear;
        let measured = amplitudes(images, waves);
        let reference = self.reference();
        let mut found = vec![Correction::default(); self.tilts.len()];
        let mut misfit = [0.0; 2];
        for round in 0..ROUNDS {
            let here = self.corrected(&found);
            let predicted = here.predict(volume)?;
            let slope = if what.foci { here.slope(volume)? } else { None };
            let tilt = |tilt: usize| {
                let pair = |plane| Pair {
                    measured: measured.plane(plane),
                    predicted: predicted.plane(plane),
                    slope: slope.as_ref().map(|slope| slope.plane(plane)),
                    columns: self.pixels,
                };
                let pairs: Vec<Pair> = self.planes_of(tilt).map(pair).collect();
                let moves = what.shift_max_px > 0 && tilt != reference;
                solve(&pairs, found[tilt], moves.then_some(what.shift_max_px), round == 0, !waves)
            };
            let solved: Vec<(Correction, [f64; 2])> =
                (0..self.tilts.len()).into_par_iter().map(tilt).collect();
            let squares = solved.iter().map(|(_, squares)| squares[0] / squares[1]).sum::<f64>();
            let rms = (squares / solved.len() as f64).sqrt();
            misfit = if round == 0 { [rms; 2] } else { [misfit[0], rms] };
            found = solved.into_iter().map(|(correction, _)| correction).collect();
        }
        Ok(Refined { corrections: found, misfit })
    }

    /// This spec with what is wrong with it put right: other places of the images on the camera, and other foci.
    #[must_use]
    pub fn corrected(&self, corrections: &[Correction]) -> Self {
        let mut spec = self.clone();
        if spec.alignment.places.is_empty() && corrections.iter().any(|found| found.shift_px != [0.0; 2]) {
            spec.alignment.places = vec![Place::leaning(0.0, [0.0; 2]); self.images()];
        }
        for (tilt, Correction { shift_px: [x, y], distance_angstrom }) in corrections.iter().enumerate() {
            let planes = self.planes_of(tilt);
            for place in spec.alignment.places.iter_mut().skip(planes.start).take(planes.len()) {
                for axis in 0..2 {
                    place.shift[axis] += place.matrix[axis][0] * x + place.matrix[axis][1] * y;
                }
            }
            if let Model::Multislice(model) = &mut spec.model
                && let Some(foci) = model.foci.get_mut(tilt)
            {
                for focus in foci {
                    *focus = Focus::at_distance(focus.distance_angstrom + distance_angstrom);
                }
            }
        }
        spec
    }

    /// The tilt that stays where it is.
    fn reference(&self) -> usize {
        let angles = self.tilts.iter().map(|tilt| tilt.angle_deg.abs()).enumerate();
        angles.min_by(|left, right| left.1.total_cmp(&right.1)).map_or(0, |(tilt, _)| tilt)
    }

    /// The images of a tilt.
    fn planes_of(&self, tilt: usize) -> std::ops::Range<usize> {
        let each = self.model.images_per_tilt();
        tilt * each..(tilt + 1) * each
    }

    /// What the images should show: sums along rays, or amplitudes of waves.
    fn predict(&self, volume: &Volume) -> Result<Projections> {
        let images = self.model.images_of(volume, self.voxel_angstrom, &self.tilts, self.pixels)?;
        Ok(amplitudes(&images, self.model != Model::Linear))
    }

    /// By how much amplitudes of waves change per Angstrom of distance.
    fn slope(&self, volume: &Volume) -> Result<Option<Projections>> {
        let Model::Multislice(model) = &self.model else { return Ok(None) };
        let highest = 1.0 / (3.0 * self.voxel_angstrom);
        let step =
            TURN / (std::f64::consts::PI * model.microscope.beam.wavelength_angstrom * highest * highest);
        let at = |distance_angstrom| {
            let all = vec![Correction { distance_angstrom, ..Correction::default() }; self.tilts.len()];
            self.corrected(&all).predict(volume)
        };
        let (mut slope, before) = (at(step)?, at(-step)?);
        let scale = (0.5 / step) as f32;
        slope.update([&before], |after, [before]| (after - before) * scale);
        Ok(Some(slope))
    }
}

/// Square roots of intensities, for waves.
fn amplitudes(images: &Projections, waves: bool) -> Projections {
    let mut images = images.clone();
    if waves {
        images.update([], |value, []| value.max(0.0).sqrt());
    }
    images
}

/// What was measured and what was predicted of one image.
struct Pair {
    measured: Vec<f32>,
    predicted: Vec<f32>,
    slope: Option<Vec<f32>>,
    columns: usize,
}

impl Pair {
    fn rows(&self) -> usize {
        self.measured.len() / self.columns
    }

    /// The measured image at a place between pixels, by cubic convolution, if it has neighbours enough there. An average
    /// of neighbours would take contrast away, and so look like less of a defocus.
    fn measured_at(&self, x: f64, y: f64) -> Option<f64> {
        let (left, top) = (x.floor(), y.floor());
        let fits = |low: f64, extent: usize| low >= 1.0 && low + 2.0 < extent as f64;
        if !fits(left, self.columns) || !fits(top, self.rows()) {
            return None;
        }
        let (along_x, along_y) = (cubic(x - left), cubic(y - top));
        let first = (top as usize - 1) * self.columns + left as usize - 1;
        let row = |row: usize| {
            let values = &self.measured[first + row * self.columns..][..4];
            values.iter().zip(along_x).map(|(value, weight)| f64::from(*value) * weight).sum::<f64>()
        };
        Some((0..4).map(|index| row(index) * along_y[index]).sum())
    }

    /// Pixels that have neighbours on all sides, and which they are.
    fn inner(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let columns = self.columns;
        let rows = 1..self.rows().saturating_sub(1);
        rows.flat_map(move |row| {
            (1..columns.saturating_sub(1)).map(move |column| (row, column, row * columns + column))
        })
    }

    /// How alike the images are if the measured one is shifted back by whole pixels: their correlation.
    fn likeness(&self, [x, y]: [i64; 2]) -> f64 {
        let (mut sums, mut squares, mut product, mut count) = ([0.0; 2], [0.0; 2], 0.0, 0.0);
        for (row, column, at) in self.inner() {
            let Some(measured) = self.measured_at(column as f64 + x as f64, row as f64 + y as f64) else {
                continue;
            };
            let predicted = f64::from(self.predicted[at]);
            for (index, value) in [measured, predicted].into_iter().enumerate() {
                sums[index] += value;
                squares[index] += value * value;
            }
            (product, count) = (product + measured * predicted, count + 1.0);
        }
        let spread = |index: usize| (squares[index] - sums[index] * sums[index] / count).max(0.0);
        let norm = (spread(0) * spread(1)).sqrt();
        if norm > 0.0 { (product - sums[0] * sums[1] / count) / norm } else { f64::MIN }
    }
}

/// The weights of four neighbours of a place that lies so far behind the second (Keys 1981, a = -1/2).
fn cubic(far: f64) -> [f64; 4] {
    let near = |t: f64| (1.5 * t - 2.5) * t * t + 1.0;
    let outer = |t: f64| ((-0.5 * t + 2.5) * t - 4.0) * t + 2.0;
    [outer(1.0 + far), near(far), near(1.0 - far), outer(2.0 - far)]
}

/// The correction of a tilt, from the one so far, and the squares of what differed before with the number of pixels.
fn solve(
    pairs: &[Pair],
    mut found: Correction,
    shift_max: Option<usize>,
    is_first: bool,
    scales: bool,
) -> (Correction, [f64; 2]) {
    let before = system(pairs, &found, shift_max.is_some(), scales).1;
    if let (Some(most), true) = (shift_max, is_first) {
        let most = most as i64;
        let likeness = |shift: [i64; 2]| pairs.iter().map(|pair| pair.likeness(shift)).sum::<f64>();
        let all = (-most..=most).flat_map(|y| (-most..=most).map(move |x| [x, y]));
        let best = all.map(|shift| (shift, likeness(shift))).max_by(|left, right| left.1.total_cmp(&right.1));
        found.shift_px = best.map_or([0.0; 2], |(shift, _)| shift.map(|pixels| pixels as f64));
    }
    for step in 0..STEPS {
        let (unknowns, _) = system(pairs, &found, shift_max.is_some(), scales);
        let mut unknowns = unknowns.into_iter();
        if let Some(most) = shift_max {
            for shift in &mut found.shift_px {
                let change = unknowns.next().unwrap_or(0.0).clamp(-1.0, 1.0);
                *shift = (*shift + change).clamp(-(most as f64) - 1.0, most as f64 + 1.0);
            }
        }
        // The slope was taken at the distance before, so it is good for one step.
        if let (Some(change), true, 0) =
            (unknowns.next(), pairs.iter().all(|pair| pair.slope.is_some()), step)
        {
            found.distance_angstrom += change;
        }
    }
    (found, before)
}

/// Solves for what makes the prediction more like the images: along x' and y, then per Angstrom, and last, if it is of no
/// concern, a factor and a constant. Also the squares of what they differ by, and how many pixels there are.
fn system(pairs: &[Pair], found: &Correction, shifts: bool, scales: bool) -> (Vec<f64>, [f64; 2]) {
    let with_slope = pairs.iter().all(|pair| pair.slope.is_some());
    let size = 2 * usize::from(shifts) + usize::from(with_slope) + 2 * usize::from(scales);
    let mut normal = vec![vec![0.0; size + 1]; size];
    let mut squares = [0.0; 2];
    let [x, y] = found.shift_px;
    for pair in pairs {
        for (row, column, at) in pair.inner() {
            let Some(measured) = pair.measured_at(column as f64 + x, row as f64 + y) else { continue };
            let value = |at: usize| f64::from(pair.predicted[at]);
            let mut derivatives = Vec::with_capacity(size);
            if shifts {
                derivatives.push(0.5 * (value(at - 1) - value(at + 1)));
                derivatives.push(0.5 * (value(at - pair.columns) - value(at + pair.columns)));
            }
            derivatives.extend(pair.slope.as_ref().map(|slope| f64::from(slope[at])));
            if scales {
                derivatives.extend([value(at), 1.0]);
            }
            let rest = measured - value(at);
            squares = [squares[0] + rest * rest, squares[1] + 1.0];
            for (line, left) in normal.iter_mut().zip(&derivatives) {
                for (entry, right) in line.iter_mut().zip(derivatives.iter().chain([&rest])) {
                    *entry += left * right;
                }
            }
        }
    }
    let mut unknowns = eliminate(normal);
    if let (true, [.., factor, _]) = (scales && shifts, &mut unknowns[..]) {
        // The derivatives are those of the prediction times the factor.
        let factor = 1.0 + *factor;
        if factor > 0.0 {
            unknowns.iter_mut().take(2).for_each(|shift| *shift /= factor);
        }
    }
    (unknowns, squares)
}

/// Gauss's elimination of a symmetric system with its right-hand side; 0 for what it leaves open.
fn eliminate(mut lines: Vec<Vec<f64>>) -> Vec<f64> {
    let size = lines.len();
    let open = |pivot: f64, scale: f64| pivot.abs() <= 1e-12 * scale;
    let scales: Vec<f64> = (0..size).map(|index| lines[index][index].abs()).collect();
    for pivot in 0..size {
        if open(lines[pivot][pivot], scales[pivot]) {
            continue;
        }
        let (above, below) = lines.split_at_mut(pivot + 1);
        let top = &above[pivot];
        for line in below {
            let factor = line[pivot] / top[pivot];
            line.iter_mut().zip(top).for_each(|(entry, top)| *entry -= factor * top);
        }
    }
    let mut solution = vec![0.0; size];
    for index in (0..size).rev() {
        let known: f64 = (index + 1..size).map(|other| lines[index][other] * solution[other]).sum();
        if !open(lines[index][index], scales[index]) {
            solution[index] = (lines[index][size] - known) / lines[index][index];
        }
    }
    solution
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::align::Alignment;
    use crate::phantom::clay;
    use crate::plan::{Contrast, Mode, Multislice, Plan, Solver};
    use crate::solve::{Momentum, Prior, Progress, Whole};
    use crate::testing::tilts;
    use crate::wave::{Loss, Microscope};
    use std::ops::ControlFlow;

    const BOTH: Refinement = Refinement { shift_max_px: 4, foci: true };

    fn spec(model: Model, contrast: Contrast) -> Spec {
        Spec {
            volume: Shape { planes: 16, rows: 40, columns: 36 },
            voxel_angstrom: 2.0,
            pixels: 40,
            tilts: tilts(&[-60.0, -40.0, -20.0, 1.0, 20.0, 40.0, 60.0]),
            alignment: Alignment::default(),
            contrast,
            model,
            solver: Solver::Proximal { momentum: Momentum::Nesterov },
            prior: Prior { positive: true, tv: None },
            iterations: 12,
            seed: 4,
            mode: Mode::Exact {},
        }
    }

    /// Shifts that are none of whole pixels; the tilt nearest to 0 degrees has none.
    fn shifts() -> [[f64; 2]; 7] {
        [[2.3, -1.4], [-0.6, 0.2], [1.7, 3.1], [0.0, 0.0], [-2.2, -0.7], [0.4, 1.5], [-3.2, 2.6]]
    }

    /// Images, each shifted along x' and y.
    fn shifted(images: &Projections, shifts: [[f64; 2]; 7], per_tilt: usize, outside: f32) -> Projections {
        let place = |image: usize| {
            let [x, y] = shifts[image / per_tilt];
            Place::leaning(0.0, [-x, -y])
        };
        Alignment { places: (0..images.shape().planes).map(place).collect() }.apply(images, outside).unwrap()
    }

    fn furthest(corrections: &[Correction], shifts: [[f64; 2]; 7]) -> f64 {
        let gaps = corrections
            .iter()
            .zip(shifts)
            .flat_map(|(found, shift)| [0, 1].map(|axis| (found.shift_px[axis] - shift[axis]).abs()));
        gaps.fold(0.0, f64::max)
    }

    #[test]
    fn shifts_are_found_and_put_right() {
        let spec = spec(Model::Linear, Contrast::Projection);
        let volume = clay(spec.volume, 2.0, 3).unwrap();
        let images = spec.predict(&volume).unwrap();
        let moved = shifted(&images, shifts(), 1, 0.0);
        let found = spec.refine(&volume, &moved, BOTH).unwrap();
        assert!(furthest(&found.corrections, shifts()) < 0.05, "{found:?}");
        assert!(found.misfit[1] < 0.4 * found.misfit[0], "{:?}", found.misfit);
        assert!(found.corrections.iter().all(|correction| correction.distance_angstrom == 0.0));
        let better = spec.corrected(&found.corrections);
        let again = better.refine(&volume, &better.prepare(moved.clone()).unwrap(), BOTH).unwrap();
        let left = |found: &Correction| {
            found.shift_px.into_iter().fold(0.0, |left: f64, shift| left.max(shift.abs()))
        };
        assert!(again.corrections.iter().all(|found| left(found) < 0.1), "{again:?}");
        // Brighter or darker images are shifted alike, and shifts that are not looked for are not found.
        let mut darker = moved.clone();
        darker.update([], |value, []| 0.5 * value);
        let darker = spec.refine(&volume, &darker, BOTH).unwrap();
        assert!(furthest(&darker.corrections, shifts()) < 0.05, "{darker:?}");
        let kept = spec.refine(&volume, &moved, Refinement { shift_max_px: 0, foci: true }).unwrap();
        assert!(kept.corrections.iter().all(|found| *found == Correction::default()));
        assert!(spec.refine(&volume, &moved.rows(0..20).unwrap(), BOTH).is_err());
        let too_far = spec.refine(&volume, &moved, Refinement { shift_max_px: 17, foci: true });
        assert!(too_far.unwrap_err().to_string().contains("largest shift is 17"));
    }

    /// From nothing but the series: reconstruct, refine, and again.
    #[test]
    fn reconstructions_and_shifts_improve_each_other() {
        let mut spec = spec(Model::Linear, Contrast::Projection);
        let volume = clay(spec.volume, 2.0, 3).unwrap();
        let moved = shifted(&spec.predict(&volume).unwrap(), shifts(), 1, 0.0);
        let mut losses = Vec::new();
        for _ in 0..4 {
            let images = spec.prepare(moved.clone()).unwrap();
            let mut last = 0.0;
            let mut told = |progress: Progress| {
                last = progress.loss;
                ControlFlow::Continue(())
            };
            let plan = Plan::new(spec.clone()).unwrap();
            let found = plan.reconstruct(0, &images, &mut Whole, &mut told).unwrap();
            losses.push(last);
            spec = spec.corrected(&spec.refine(&found, &images, BOTH).unwrap().corrections);
        }
        assert!(losses[3] < 0.6 * losses[0], "{losses:?}");
    }

    #[test]
    fn defoci_and_shifts_of_waves_are_found() {
        let noted = [1500.0, 2500.0].map(Focus::underfocus).to_vec();
        let model = Multislice {
            microscope: Microscope::ideal(300e3).unwrap(),
            foci: vec![noted; 7],
            bin: 4,
            vacuum_rows: 0,
            loss: Loss::Amplitude,
            wave_of_tilts: 7,
            checkpoints: false,
        };
        let spec = spec(Model::Multislice(model), Contrast::Intensity { vacuum: 1.0 });
        let volume = clay(spec.volume, 2.0, 3).unwrap();
        let off = [180.0, -120.0, 60.0, -200.0, 90.0, 240.0, -30.0];
        let wrong = off.map(|distance_angstrom| Correction { distance_angstrom, ..Correction::default() });
        let mut images = spec.corrected(&wrong).predict(&volume).unwrap();
        images.update([], |amplitude, []| amplitude * amplitude);
        let whole = shifts().map(|shift| shift.map(f64::round));
        let found = spec.refine(&volume, &shifted(&images, whole, 2, 1.0), BOTH).unwrap();
        for (found, off) in found.corrections.iter().zip(off) {
            assert!((found.distance_angstrom - off).abs() < 25.0, "{found:?} beside {off}");
        }
        assert!(furthest(&found.corrections, whole) < 0.1, "{found:?}");
        // Foci that are left alone are not changed.
        let kept = spec.refine(&volume, &images, Refinement { foci: false, ..BOTH }).unwrap();
        assert!(kept.corrections.iter().all(|found| found.distance_angstrom == 0.0));
    }
}
