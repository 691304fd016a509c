//! Gradient steps with a prior: projected gradient, FISTA, ordered subsets.
//!
//! A step is `x <- prox(y - grad f(y) / L)` with one constant L for all rows ([`super::lipschitz`]). FISTA takes `y` ahead
//! of `x` by `(t - 1) / t+`, `t+ = (1 + sqrt(1 + 4 t^2)) / 2` (Beck and Teboulle, SIAM J. Imaging Sci. 2 (2009) 183), and
//! may start its momentum anew when the loss rises (O'Donoghue and Candes, Found. Comput. Math. 15 (2015) 715). Ordered
//! subsets step for some images at a time, which gains most while far from the solution; their momentum is capped, as
//! the steps disagree with each other (after Kim, Ramani, Fessler, IEEE Trans. Med. Imaging 34 (2015) 167).

use super::{Descent, Objective, Prior, Progress, Run};
use crate::wave::Misfit;
use crate::{Error, Result, Stack, Volume};

/// How far the next step is taken ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Momentum {
    /// Not at all: projected gradient.
    None,
    /// FISTA.
    Nesterov,
    /// FISTA that starts anew when the loss over all rows rises.
    Restarted,
}

/// The options of [`proximal`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Proximal {
    /// L: the step is 1 / L. A constant of the plan, never of a part.
    pub lipschitz: f64,
    /// How far the next step is taken ahead.
    pub momentum: Momentum,
    /// What is known of the volume beforehand.
    pub prior: Prior,
}

/// The options of [`ordered_subsets`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OrderedSubsets {
    /// The largest L of the subsets.
    pub lipschitz: f64,
    /// The step is `relaxation / L`; 0.7 was measured to be good.
    pub relaxation: f64,
    /// The largest momentum: 0.9 for few subsets, what [`super::steady_momentum`] says for any number.
    pub momentum_max: f64,
    /// What is known beforehand. Positivity is imposed after each step, total variation once per pass.
    pub prior: Prior,
}

/// The iterate, the one before, and the point where the next gradient is taken.
pub(crate) struct Iterate {
    pub(crate) volume: Volume,
    pub(crate) ahead: Volume,
    pub(crate) t: f64,
}

impl Iterate {
    /// Takes a new volume, and the point ahead of it.
    pub(crate) fn advance(&mut self, new: Volume, momentum: impl Fn(f64) -> f64) {
        let next = f64::midpoint(1.0, (1.0 + 4.0 * self.t * self.t).sqrt());
        let factor = momentum((self.t - 1.0) / next) as f32;
        let old = std::mem::replace(&mut self.volume, new);
        self.ahead.update([&self.volume, &old], |_, [new, old]| new + factor * (new - old));
        self.t = next;
    }
}

pub(crate) fn step_of(relaxation: f64, lipschitz: f64) -> Result<f32> {
    if !lipschitz.is_finite() || lipschitz <= 0.0 {
        return Err(Error::parameter("Lipschitz constant", lipschitz, "finite and above 0"));
    }
    if !relaxation.is_finite() || relaxation <= 0.0 {
        return Err(Error::parameter("relaxation", relaxation, "finite and above 0"));
    }
    Ok((relaxation / lipschitz) as f32)
}

/// Reconstructs by gradient steps of fixed size, with or without momentum.
///
/// # Errors
/// [`Error::Shape`] if objective and start do not fit, [`Error::Parameter`] for a constant that makes no sense,
/// [`Error::Diverging`] if the misfit rises for good: three times in a row, by a fourth of that at the start, which should be
/// farther off than what is sought. And the errors of the objective and of the rows.
pub fn proximal(
    objective: &impl Objective,
    start: Volume,
    options: Proximal,
    run: &mut Run<'_>,
) -> Result<Volume> {
    objective.check(&start)?;
    options.prior.check()?;
    let step = step_of(1.0, options.lipschitz)?;
    let mut gradient = Stack::zeros(start.shape());
    let fresh = [start.clone(), start];
    let (first, [t, mut last, begun], [volume, ahead]) =
        run.begin([1.0, f64::INFINITY, f64::INFINITY], fresh)?;
    let (mut iterate, mut descent) = (Iterate { volume, ahead, t }, Descent::from(begun));
    for iteration in first..run.iterations {
        let misfit = objective.gradient(&iterate.ahead, run.rows, &mut gradient)?;
        let progress = Progress::new(iteration, misfit);
        if run.watch.progress(progress).is_break() {
            break;
        }
        descent.take(progress)?;
        let loss = misfit.loss;
        if options.momentum == Momentum::Restarted && loss > last {
            iterate.t = 1.0;
        }
        last = loss;
        let mut new = iterate.ahead.clone();
        new.update([&gradient], |value, [gradient]| value - step * gradient);
        let new = options.prior.apply(new, run.rows)?;
        let momentum = |full| if options.momentum == Momentum::None { 0.0 } else { full };
        iterate.advance(new, momentum);
        run.watch.keep(
            iteration + 1,
            &[iterate.t, last, descent.first],
            &[&iterate.volume, &iterate.ahead],
        )?;
    }
    Ok(iterate.volume)
}

/// The images of subset `i` of `subsets`: every `subsets`-th, from the i-th on, so that each spans all angles.
pub fn interleaved(images: usize, subsets: usize) -> Vec<Vec<usize>> {
    (0..subsets).map(|first| (first..images).step_by(subsets).collect()).collect()
}

/// Reconstructs by steps for one subset of the images after the other, in the order given. One iteration is one pass over
/// all subsets. The loss told is the sum of the subsets' at the points where their gradients were taken, which is no
/// loss of one volume, and is told after the pass.
///
/// # Errors
/// As [`proximal`]; [`Error::Parameter`] without subsets.
pub fn ordered_subsets(
    subsets: &[impl Objective],
    start: Volume,
    options: OrderedSubsets,
    run: &mut Run<'_>,
) -> Result<Volume> {
    if subsets.is_empty() {
        return Err(Error::parameter("number of subsets", 0, "at least 1"));
    }
    subsets.iter().try_for_each(|objective| objective.check(&start))?;
    options.prior.check()?;
    let step = step_of(options.relaxation, options.lipschitz)?;
    let mut gradient = Stack::zeros(start.shape());
    let (first, [t, begun], [volume, ahead]) = run.begin([1.0, f64::INFINITY], [start.clone(), start])?;
    let (mut iterate, mut descent) = (Iterate { volume, ahead, t }, Descent::from(begun));
    for iteration in first..run.iterations {
        let mut all = Misfit::of_rays(0.0);
        for (index, objective) in subsets.iter().enumerate() {
            let Misfit { loss, energy_outside } =
                objective.gradient(&iterate.ahead, run.rows, &mut gradient)?;
            all = Misfit { loss: all.loss + loss, energy_outside: all.energy_outside.max(energy_outside) };
            let mut new = iterate.ahead.clone();
            new.update([&gradient], |value, [gradient]| value - step * gradient);
            let is_last = index + 1 == subsets.len();
            let prior = if is_last { options.prior } else { Prior { tv: None, ..options.prior } };
            iterate.advance(prior.apply(new, run.rows)?, |full| full.min(options.momentum_max));
        }
        let progress = Progress::new(iteration, all);
        let descends = descent.take(progress);
        if descends.is_ok() {
            let scalars = [iterate.t, descent.first];
            run.watch.keep(iteration + 1, &scalars, &[&iterate.volume, &iterate.ahead])?;
        }
        let goes_on = run.watch.progress(progress);
        descends?;
        if goes_on.is_break() {
            break;
        }
    }
    Ok(iterate.volume)
}
