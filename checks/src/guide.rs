#![doc = include_str!("../../GUIDE.md")]

pub mod adder;
pub mod claims;
