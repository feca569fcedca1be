//! The block store of the Holdfast IPFS node.
