//! Decomposition: a reconstruction by workers that equals the reconstruction by one.
//!
//! | statement | decomposition | what crosses | equality |
//! |---|---|---|---|
//! | A | rows of a linear problem ([`Part`]) | nothing | bits |
//! | B | rows, with total variation of n iterations ([`Part`]) | n rows each way per step | bits |
//! | - | rows, conjugate gradients ([`Part`]) | sums of rows | bits |
//! | D1 | columns, across the tilt axis ([`Columns`]) | partial projections | bits |
//! | D1 | the same, added as they arrive ([`Columns::project_in_order`]) | the same | [`order_bound`] |
//! | D2 | tilts of a multislice series ([`crate::wave::Pooled`], [`crate::wave::Everywhere`]) | slices, gradients | bits |
//! | D3 | rows of one, with halos ([`crate::wave::Windows`]) | halos | [`crate::wave::Tail`] |
//!
//! A: the projection matrix is `1 (x) A`, the same for each row and none between rows, so anything built of A, of its
//! transpose, of arithmetic at one place and of scalars that do not depend on data gives the rows of the whole, for every
//! cut, as long as a row's arithmetic does not depend on where the row lies. D1: the projections of a volume are the sum
//! of those of its columns; the *whole* is defined as the sum over canonical blocks in canonical order ([`Blocked`]), so
//! that any assignment of blocks to workers and any order of arrival gives its bits.
//!
//! [`parthood_ledger::Ledger`] is who does what: tasks, leases, results that arrive twice, workers that are lost. [`Pool`] runs it.

mod columns;
mod pool;
mod rows;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

pub use columns::{Blocked, Columns, order_bound, serve_columns};
pub use pool::{Pool, serve};
pub use rows::{Part, partition};
