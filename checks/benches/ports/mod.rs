//! What benchmarks of clusters share.

use std::error::Error;
use std::net::{Ipv4Addr, UdpSocket};
use std::ops::Range;

/// UDP ports of 127.0.0.1 in a row that are free now, in ascending order.
pub(crate) fn free(count: usize) -> Result<Range<u16>, Box<dyn Error>> {
    let count = u16::try_from(count)?;
    let is_free = |port: u16| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let found = (20_000..60_000).step_by(17).find(|port| (0..count).all(|offset| is_free(port + offset)));
    Ok(found.map(|port| port..port + count).ok_or("no ports in a row are free")?)
}
