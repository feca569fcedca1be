//! What the node can do, one file a service.
//!
//! Services are handles onto a [`Node`](crate::node::Node), cheap to make and to clone. What takes long streams; the
//! words of their errors are Kubo's, because every door passes them on.

pub mod blocks;
pub mod dag;
pub mod files;
pub mod gc;
pub mod names;
pub mod object;
pub mod pins;
pub mod refs;
pub mod repo;
pub mod resolve;
pub mod unixfs;
pub mod verify;
