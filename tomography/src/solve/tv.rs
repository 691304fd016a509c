//! What is known of a volume beforehand: it is not negative, and it is piecewise smooth.
//!
//! The proximal step of total variation, `min_x 1/2 |x - b|^2 + w sum |D x|`, `x >= 0` if so wished, by a fixed number of
//! fast gradient projections on its dual. D takes forward differences along x, y and z; at the last voxel of an axis the
//! difference is 0 (reflecting ends). |D|^2 <= 12 gives the step.
//!
//! ```text
//! x = max(0, b - w D^T r);   p+ = P(r + D x / (12 w)), P to length 1 at each voxel;   r+ = p+ + (t - 1) / t+ (p+ - p)
//! ```
//!
//! One iteration carries information one voxel each way, and the first starts from p = 0. So `iterations` of them and
//! the last primal step depend on b within exactly `iterations` voxels, and a part that has so many rows of its
//! neighbours computes its own rows as the whole does, in every bit. With fewer it does not.
//!
//! Source: A. Beck and M. Teboulle, IEEE Trans. Image Process. 18 (2009) 2419.

use super::Rows;
use crate::{Error, LANES, Lanes, Result, Slab, Stack, Volume};
use multiversion::multiversion;
use rayon::prelude::*;

/// Total variation, as a proximal step.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Tv {
    /// w of the proximal step, in the unit of the voxels (volt): steps below it are smoothed away. Not divided by L.
    pub weight: f32,
    /// Iterations on the dual, and so the reach along y in rows; 6 to 15 are usual.
    pub iterations: usize,
}

/// What is known of a volume beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Prior {
    /// Whether no voxel is negative.
    pub positive: bool,
    /// Total variation.
    pub tv: Option<Tv>,
}

impl Tv {
    /// More iterations change nothing that can be seen, and reach as many rows further.
    pub const MAX_ITERATIONS: usize = 1000;
}

impl Prior {
    /// Fails for a weight that makes no sense.
    ///
    /// # Errors
    /// [`Error::Parameter`].
    pub fn check(&self) -> Result<()> {
        match self.tv {
            Some(tv) if !tv.weight.is_finite() || tv.weight <= 0.0 => {
                Err(Error::parameter("weight of total variation", tv.weight, "finite and above 0"))
            }
            Some(tv) if !(1..=Tv::MAX_ITERATIONS).contains(&tv.iterations) => {
                Err(Error::parameter("iterations of total variation", tv.iterations, "between 1 and 1000"))
            }
            _ => Ok(()),
        }
    }

    /// The proximal step.
    ///
    /// # Errors
    /// As [`Prior::check`], and those of the rows.
    pub fn apply(&self, volume: Volume, rows: &mut dyn Rows) -> Result<Volume> {
        self.check()?;
        let floor = if self.positive { 0.0 } else { f32::NEG_INFINITY };
        let Some(tv) = self.tv else {
            let mut volume = volume;
            volume.update([], |value, []| value.max(floor));
            return Ok(volume);
        };
        let own = volume.shape().rows;
        let [before, after] = rows.beside(&volume, tv.iterations)?;
        if before.is_none() && after.is_none() {
            return Ok(tv.minimise(&volume, floor));
        }
        let first = before.as_ref().map_or(0, |before| before.shape().rows);
        let total = first + own + after.as_ref().map_or(0, |after| after.shape().rows);
        let mut tile = Stack::zeros(volume.shape().with_rows(total));
        for (place, part) in [(0, before.as_ref()), (first, Some(&volume)), (first + own, after.as_ref())] {
            if let Some(part) = part {
                tile.set_rows(place, part)?;
            }
        }
        tv.minimise(&tile, floor).rows(first..first + own)
    }
}

impl Tv {
    fn minimise(&self, target: &Volume, floor: f32) -> Volume {
        let zeros = || Stack::zeros(target.shape());
        let mut ahead: [Volume; 3] = std::array::from_fn(|_| zeros());
        let mut dual: [Volume; 3] = std::array::from_fn(|_| zeros());
        let mut primal = zeros();
        let mut t = 1.0_f64;
        for _ in 0..self.iterations {
            self.primal(target, &ahead, floor, &mut primal);
            let next = f64::midpoint(1.0, (1.0 + 4.0 * t * t).sqrt());
            self.dual(&primal, ((t - 1.0) / next) as f32, &mut dual, &mut ahead);
            t = next;
        }
        self.primal(target, &dual, floor, &mut primal);
        primal
    }

    /// `x = max(floor, b - w D^T r)`.
    fn primal(&self, target: &Volume, dual: &[Volume; 3], floor: f32, primal: &mut Volume) {
        primal.slabs_mut().par_iter_mut().enumerate().for_each(|(index, primal)| {
            let previous = index.checked_sub(1).map(|previous| &dual[1].slabs()[previous]);
            let dual = [0, 1, 2].map(|axis| &dual[axis].slabs()[index]);
            for plane in 0..primal.planes() {
                let below = plane.checked_sub(1).map(|below| dual[0].plane(below));
                let previous = previous.map(|slab| slab.plane(plane));
                let dual = dual.map(|slab| slab.plane(plane));
                let target = target.slabs()[index].plane(plane);
                primal_row(target, dual, [below, previous], [self.weight, floor], primal.plane_mut(plane));
            }
        });
    }

    /// `p+ = P(r + D x / (12 w))`, `r+ = p+ + m (p+ - p)`.
    fn dual(&self, primal: &Volume, momentum: f32, dual: &mut [Volume; 3], ahead: &mut [Volume; 3]) {
        let step = 1.0 / (12.0 * self.weight);
        let rows = primal.shape().rows;
        let [dual_z, dual_y, dual_x] = dual.each_mut().map(Stack::slabs_mut);
        let [ahead_z, ahead_y, ahead_x] = ahead.each_mut().map(Stack::slabs_mut);
        let duals = dual_z.par_iter_mut().zip(dual_y).zip(dual_x);
        let aheads = ahead_z.par_iter_mut().zip(ahead_y).zip(ahead_x);
        duals.zip(aheads).enumerate().for_each(|(index, (((pz, py), px), ((rz, ry), rx)))| {
            let (own, next) = (&primal.slabs()[index], primal.slabs().get(index + 1));
            // A row has a difference along y unless it is the last.
            let inside = std::array::from_fn(|lane| f32::from(u8::from(index * LANES + lane + 1 < rows)));
            for plane in 0..own.planes() {
                let above = (plane + 1 < own.planes()).then(|| own.plane(plane + 1));
                let around = [above, next.map(|slab| slab.plane(plane))];
                let mut dual = [&mut *pz, py, px].map(|slab: &mut Slab| slab.plane_mut(plane));
                let mut ahead = [&mut *rz, ry, rx].map(|slab: &mut Slab| slab.plane_mut(plane));
                let values = Row { own: own.plane(plane), around, inside: Lanes(inside) };
                dual_row(&values, [step, momentum], &mut dual, &mut ahead);
            }
        });
    }
}

/// One plane of one slab, and what lies after it along z and y.
struct Row<'a> {
    own: &'a [Lanes],
    around: [Option<&'a [Lanes]>; 2],
    inside: Lanes,
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn primal_row(
    target: &[Lanes],
    [dual_z, dual_y, dual_x]: [&[Lanes]; 3],
    [below, previous]: [Option<&[Lanes]>; 2],
    [weight, floor]: [f32; 2],
    primal: &mut [Lanes],
) {
    let mut left = Lanes::ZERO;
    for (column, primal) in primal.iter_mut().enumerate() {
        let below = below.map_or(Lanes::ZERO, |plane| plane[column]);
        let before = previous.map_or(0.0, |plane| plane[column].0[LANES - 1]);
        let mut behind = [before; LANES];
        behind[1..].copy_from_slice(&dual_y[column].0[..LANES - 1]);
        for lane in 0..LANES {
            let along_z = below.0[lane] - dual_z[column].0[lane];
            let along_y = behind[lane] - dual_y[column].0[lane];
            let along_x = left.0[lane] - dual_x[column].0[lane];
            let value = target[column].0[lane] - weight * ((along_z + along_y) + along_x);
            primal.0[lane] = if value > floor { value } else { floor };
        }
        left = dual_x[column];
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn dual_row(
    row: &Row<'_>,
    [step, momentum]: [f32; 2],
    dual: &mut [&mut [Lanes]; 3],
    ahead: &mut [&mut [Lanes]; 3],
) {
    for column in 0..row.own.len() {
        let own = row.own[column];
        let above = row.around[0].map_or(own, |plane| plane[column]);
        let right = row.own.get(column + 1).copied().unwrap_or(own);
        let mut after = [row.around[1].map_or(0.0, |plane| plane[column].0[0]); LANES];
        after[..LANES - 1].copy_from_slice(&own.0[1..]);
        let mut new = [Lanes::ZERO; 3];
        for lane in 0..LANES {
            let z = ahead[0][column].0[lane] + step * (above.0[lane] - own.0[lane]);
            let y = ahead[1][column].0[lane] + step * ((after[lane] - own.0[lane]) * row.inside.0[lane]);
            let x = ahead[2][column].0[lane] + step * (right.0[lane] - own.0[lane]);
            let length = ((z * z + y * y) + x * x).sqrt();
            let length = if length > 1.0 { length } else { 1.0 };
            (new[0].0[lane], new[1].0[lane], new[2].0[lane]) = (z / length, y / length, x / length);
        }
        for axis in 0..3 {
            for lane in 0..LANES {
                let (old, new) = (dual[axis][column].0[lane], new[axis].0[lane]);
                ahead[axis][column].0[lane] = new + momentum * (new - old);
                dual[axis][column].0[lane] = new;
            }
        }
    }
}
