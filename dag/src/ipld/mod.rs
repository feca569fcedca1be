//! The IPLD data model and its codecs.
