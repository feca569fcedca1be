//! What the node can do, one file a service.
