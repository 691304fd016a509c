//! The exact solution that belongs to a basis, by lifting.
//!
//! Floating point ends with a basis: which columns have a value and which rows bind. The exact values and prices solve two
//! square systems of linear equations with rational entries, one the transpose of the other. Elimination over rationals
//! would carry huge fractions through every step. Instead a system is inverted once modulo a prime, and its solution found
//! digit by digit to that base (J. D. Dixon, Exact solution of linear equations using p-adic expansions, 1982): what
//! remains of the right-hand side after each digit stays as small as the entries. Fractions are read from the digits by
//! Euclid's algorithm, and put into the equations: a solution that is returned is one, however many digits were taken.

use crate::program::{Column, Program};
use crate::simplex::Ended;
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

/// The base of the digits, a prime: 2^61 - 1.
const PRIME: u64 = (1 << 61) - 1;
/// The most digits, enough for fractions of 60,000 decimal digits.
const MAX_DIGITS: usize = 1 << 12;

/// The values of basic columns and the prices of rows at a basis; `None` if it is none. Nothing is said of their signs.
pub(crate) fn at_basis<T>(program: &Program<'_, BigRational>, near: &Ended<T>) -> Option<Ended<BigRational>> {
    let mut profile = vec![BigRational::zero(); program.profile_len()];
    let mut columns: Vec<Vec<BigRational>> = Vec::with_capacity(near.basis.len());
    for column in &near.basis {
        if let Column::Set(_, set) = column {
            program.profile(set, &mut profile);
        }
        let entry = |row: &usize| program.coefficient(program.row(*row), column, &profile);
        columns.push(near.tight.iter().map(entry).collect());
    }
    let cost = |column: &Column| match column {
        _ if near.feasible => program.cost(column),
        Column::Artificial(_) => BigRational::one(),
        _ => BigRational::zero(),
    };
    let costs: Vec<BigRational> = near.basis.iter().map(cost).collect();
    let bounds: Vec<BigRational> = near.tight.iter().map(|row| program.bound(*row)).collect();
    let rows: Vec<Vec<BigRational>> =
        (0..bounds.len()).map(|at| columns.iter().map(|column| column[at].clone()).collect()).collect();
    let x = solve(&rows, &bounds)?;
    let mut y = vec![BigRational::zero(); program.rows()];
    for (row, price) in near.tight.iter().zip(solve(&columns, &costs)?) {
        y[*row] = price;
    }
    let value = costs.iter().zip(&x).map(|(cost, x)| cost * x).sum();
    let (basis, tight) = (near.basis.clone(), near.tight.clone());
    Some(Ended { feasible: near.feasible, value, basis, x, tight, y })
}

/// The solution of a square system; `None` if it is singular, also if only modulo the prime.
fn solve(rows: &[Vec<BigRational>], right: &[BigRational]) -> Option<Vec<BigRational>> {
    let (rows, right): (Vec<_>, Vec<_>) =
        rows.iter().zip(right).map(|(row, right)| whole(row, right)).unzip();
    let inverse = inverse(&rows)?;
    let mut rest = right.clone();
    // Of every unknown what its digits so far sum to, and the place value of the next.
    let mut sums = vec![BigInt::zero(); rows.len()];
    let (mut place, mut enough) = (BigInt::one(), 4);
    for digits in 1..=MAX_DIGITS {
        let residues: Vec<u64> = rest.iter().map(residue).collect();
        let next: Vec<u64> = inverse.iter().map(|row| dot(row, &residues)).collect();
        for (row, rest) in rows.iter().zip(&mut rest) {
            for (entry, digit) in row.iter().zip(&next).filter(|(entry, _)| !entry.is_zero()) {
                *rest -= entry * digit;
            }
            *rest /= PRIME;
        }
        for (sum, digit) in sums.iter_mut().zip(&next) {
            *sum += &place * digit;
        }
        place *= PRIME;
        if digits == enough {
            enough *= 2;
            if let Some((parts, whole)) = fractions(&sums, &place).filter(|found| holds(&rows, &right, found))
            {
                return Some(parts.into_iter().map(|part| BigRational::new(part, whole.clone())).collect());
            }
        }
    }
    None
}

/// An equation times the least number that makes it one of integers.
fn whole(row: &[BigRational], right: &BigRational) -> (Vec<BigInt>, BigInt) {
    let mut factor = right.denom().clone();
    for entry in row {
        // A fraction in lowest terms has what the factor lacks below.
        factor *= BigRational::new(factor.clone(), entry.denom().clone()).denom();
    }
    let times = |value: &BigRational| value.numer() * (&factor / value.denom());
    (row.iter().map(times).collect(), times(right))
}

/// Integers and their common denominator, congruent to these modulo the place value; `None` if none are small.
fn fractions(sums: &[BigInt], modulus: &BigInt) -> Option<(Vec<BigInt>, BigInt)> {
    let small = (modulus >> 1_u32).sqrt();
    let balanced = |value: BigInt| if &value + &value > *modulus { value - modulus } else { value };
    let mut common = BigInt::one();
    for sum in sums {
        let part = balanced(sum * &common % modulus);
        if part.abs() > small {
            common *= denominator(part, modulus, &small)?;
        }
    }
    let parts: Vec<BigInt> = sums.iter().map(|sum| balanced(sum * &common % modulus)).collect();
    Some((parts, common))
}

/// The denominator of the fraction of small parts that is congruent to a number.
fn denominator(value: BigInt, modulus: &BigInt, small: &BigInt) -> Option<BigInt> {
    let value = if value.is_negative() { value + modulus } else { value };
    let (mut high, mut low) = (modulus.clone(), value);
    let (mut before, mut factor) = (BigInt::zero(), BigInt::one());
    while low > *small {
        let times = &high / &low;
        (high, low) = (low.clone(), high - &times * &low);
        (before, factor) = (factor.clone(), before - times * &factor);
    }
    Some(factor.abs()).filter(|factor| !factor.is_zero() && factor <= small)
}

/// Do these parts of a whole solve the equations?
fn holds(rows: &[Vec<BigInt>], right: &[BigInt], (parts, whole): &(Vec<BigInt>, BigInt)) -> bool {
    rows.iter().zip(right).all(|(row, right)| {
        row.iter().zip(parts).map(|(entry, part)| entry * part).sum::<BigInt>() == right * whole
    })
}

/// The inverse of a matrix modulo the prime, row by row.
fn inverse(rows: &[Vec<BigInt>]) -> Option<Vec<Vec<u64>>> {
    let size = rows.len();
    let unit = |at: usize| (0..size).map(move |column| u64::from(column == at));
    let extended = |(at, row): (usize, &Vec<BigInt>)| row.iter().map(residue).chain(unit(at)).collect();
    let mut rows: Vec<Vec<u64>> = rows.iter().enumerate().map(extended).collect();
    for at in 0..size {
        let pivot = (at..size).find(|row| rows[*row][at] != 0)?;
        rows.swap(at, pivot);
        let scale = power(rows[at][at], PRIME - 2);
        for entry in &mut rows[at] {
            *entry = times(*entry, scale);
        }
        let pivot = std::mem::take(&mut rows[at]);
        for row in rows.iter_mut().filter(|row| row.get(at).is_some_and(|entry| *entry != 0)) {
            let factor = PRIME - row[at];
            for (entry, pivot) in row.iter_mut().zip(&pivot).filter(|(_, pivot)| **pivot != 0) {
                *entry = reduced(u128::from(*entry) + u128::from(times(factor, *pivot)));
            }
        }
        rows[at] = pivot;
    }
    Some(rows.into_iter().map(|mut row| row.split_off(size)).collect())
}

fn residue(value: &BigInt) -> u64 {
    let rest = value % PRIME;
    let rest = if rest.is_negative() { rest + PRIME } else { rest };
    rest.to_u64().expect("a residue is below the prime")
}

fn dot(a: &[u64], b: &[u64]) -> u64 {
    a.iter().zip(b).fold(0, |sum, (a, b)| reduced(u128::from(sum) + u128::from(times(*a, *b))))
}

fn times(a: u64, b: u64) -> u64 {
    reduced(u128::from(a) * u128::from(b))
}

fn power(base: u64, exponent: u64) -> u64 {
    (0..64).rev().fold(1, |result, bit| {
        let square = times(result, result);
        if exponent >> bit & 1 == 1 { times(square, base) } else { square }
    })
}

/// A number below the square of the prime modulo the prime: 2^61 is 1.
#[allow(clippy::cast_possible_truncation, reason = "both parts have at most 61 bits")]
fn reduced(value: u128) -> u64 {
    let sum = (value as u64 & PRIME) + (value >> 61) as u64;
    if sum >= PRIME { sum - PRIME } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ratio((numerator, denominator): (i64, i64)) -> BigRational {
        BigRational::new(numerator.into(), denominator.into())
    }

    proptest! {
        #[test]
        fn a_solution_solves_its_equations(
            entries in prop::collection::vec((-50_i64..50, 1_i64..9), 36), right in prop::collection::vec((-9_i64..9, 1_i64..9), 6),
        ) {
            let entries: Vec<BigRational> = entries.into_iter().map(ratio).collect();
            let rows: Vec<Vec<BigRational>> = entries.chunks(6).map(<[BigRational]>::to_vec).collect();
            let right: Vec<BigRational> = right.into_iter().map(ratio).collect();
            if let Some(solution) = solve(&rows, &right) {
                for (row, right) in rows.iter().zip(&right) {
                    prop_assert_eq!(row.iter().zip(&solution).map(|(a, x)| a * x).sum::<BigRational>(), right.clone());
                }
            }
        }
    }

    #[test]
    fn a_large_solution_takes_as_many_digits_as_it_needs() {
        // x_1 = 1/3, and each unknown is the one before over a large prime.
        let large = 1_000_000_007;
        let size = 40;
        let entry = |row: usize, column: usize| match (row, column) {
            (0, 0) => ratio((3, 1)),
            (row, column) if row == column => ratio((large, 1)),
            (row, column) if row == column + 1 => ratio((-1, 1)),
            _ => BigRational::zero(),
        };
        let rows: Vec<Vec<BigRational>> =
            (0..size).map(|row| (0..size).map(|column| entry(row, column)).collect()).collect();
        let right: Vec<BigRational> = (0..size).map(|row| ratio((i64::from(row == 0), 1))).collect();
        let solution = solve(&rows, &right).unwrap();
        assert_eq!(solution[size - 1], BigRational::new(1.into(), BigInt::from(large).pow(39) * 3));
    }

    #[test]
    fn singular_equations_have_no_solution() {
        let rows = vec![vec![ratio((1, 2)), ratio((1, 3))], vec![ratio((3, 1)), ratio((2, 1))]];
        assert_eq!(solve(&rows, &[ratio((1, 1)), ratio((1, 1))]), None);
    }
}
