//! From messages to datagrams and back: the binary codec, the cluster's key, and authenticated frames.

mod codec;
mod decode;
mod frame;
mod key;

pub use codec::{Malformed, TooLong, decode, encode, encoded_len};
pub use frame::{
    Frame, FrameWriter, HEADER_LEN, MAC_LEN, MAX_DATAGRAM_LEN, MAX_MESSAGE_LEN, Parcel, Refusal,
};
pub use key::{Key, Keys, Seal, entropy, read_secret};
