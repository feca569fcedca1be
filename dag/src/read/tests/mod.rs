//! Tests of the walkers over DAGs made by hand.
