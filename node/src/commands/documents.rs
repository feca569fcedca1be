//! The help files that `init --empty-repo=false` puts into a new repo.

use futures_util::StreamExt as _;
use holdfast_dag::cid::Cid;

use super::Context;
use super::registry::CommandError;
use crate::services::unixfs::add::{AddEvent, AddOptions, Body, Entry};

/// What the folder is called while it is added; nothing keeps the name.
const FOLDER: &str = "documents";

/// Names and texts, by name.
const DOCUMENTS: [(&str, &str); 3] = [
    ("help", include_str!("documents/help")),
    ("quick-start", include_str!("documents/quick-start")),
    ("readme", include_str!("documents/readme")),
];

/// Adds and pins the documents in the context's new repo, and answers with their folder.
pub(super) async fn add(context: &Context) -> Result<Cid, CommandError> {
    let entries = DOCUMENTS.iter().map(|(name, text)| {
        let body = Body::Reader { reader: Box::new(text.as_bytes()), size: Some(text.len() as u64) };
        Entry::new(format!("{FOLDER}/{name}"), body)
    });
    let node = context.node().await?;
    let mut events = node.unixfs().add(entries.fuse(), AddOptions::default());
    let mut folder = None;
    while let Some(event) = events.next().await {
        if let AddEvent::Added(added) = event.map_err(CommandError::from_error)?
            && added.name == FOLDER
        {
            folder = Some(added.cid);
        }
    }
    folder.ok_or_else(|| CommandError::new("the help files were not added: try again with 'add'"))
}
