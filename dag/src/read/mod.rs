//! Reading DAGs.
