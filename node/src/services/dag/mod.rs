//! IPLD DAGs: `dag put`, `get`, `resolve`, `import`, `export`, `stat`.

mod complete;
mod export;
mod import;
mod stat;
mod value;

use crate::node::Node;

pub use complete::IncompleteError;
pub(crate) use complete::why_missing;
pub use export::{Archive, Export, ExportError, ExportOptions};
pub use import::{DagImportError, ImportEvent, ImportOptions, ImportStream};
pub use stat::{DagStat, DagStatError, DagStatStream, DagStats};
pub use value::{DagGetError, DagPutError, DagPutOptions};

/// The DAG service of a node.
#[derive(Debug, Clone)]
pub struct Dag {
    node: Node,
}

impl Node {
    /// IPLD DAGs.
    pub fn dag(&self) -> Dag {
        Dag { node: self.clone() }
    }
}
