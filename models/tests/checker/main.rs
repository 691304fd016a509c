//! What the checker is held against: counts of other tools, and the library's defects.
mod calibration;
mod toy_paxos;
