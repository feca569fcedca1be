//! A list, page by page, whatever the service makes of the question for the next.

use std::collections::HashSet;

use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};

use super::answer::{PINS_MAX, Page, RemotePin, RequestId};
use super::client::{Client, Filter};
use super::error::PinningError;

/// Pages of a list.
const PAGES_MAX: usize = 10_000;

/// Pins, the newest first; an error ends it.
pub type ListStream = BoxStream<'static, Result<RemotePin, PinningError>>;

/// All pins that match, read as they are asked for: one page is held at a time.
pub fn list(client: Client, filter: Filter) -> ListStream {
    let pages = stream::try_unfold(Some(Pager::default()), move |pager| {
        let (client, filter) = (client.clone(), filter.clone());
        async move {
            let Some(mut pager) = pager else { return Ok::<_, PinningError>(None) };
            let page = client.page(&filter, pager.before.as_deref(), PINS_MAX).await?;
            let (pins, is_last) = pager.take(page)?;
            let pins = stream::iter(pins.into_iter().map(Ok::<_, PinningError>));
            Ok(Some((pins, (!is_last).then_some(pager))))
        }
    });
    pages.try_flatten().boxed()
}

/// Where in a list one is.
#[derive(Debug, Default)]
struct Pager {
    /// The time that the last page ended with.
    before: Option<String>,
    /// What the last page held.
    last: HashSet<RequestId>,
    pages: usize,
}

impl Pager {
    /// What is new in a page, and whether it is the last. A service that gives the same again is not asked for ever.
    fn take(&mut self, page: Page) -> Result<(Vec<RemotePin>, bool), PinningError> {
        let Page { count, pins } = page;
        let is_last = count <= pins.len() as u64;
        if is_last {
            let fresh = pins.into_iter().filter(|pin| !self.last.contains(&pin.request)).collect();
            return Ok((fresh, true));
        }
        let Some(oldest) = pins.last() else { return Err(PinningError::NoResults(count)) };
        let before = oldest.created.clone();
        let ids: HashSet<RequestId> = pins.iter().map(|pin| pin.request.clone()).collect();
        let fresh: Vec<RemotePin> =
            pins.into_iter().filter(|pin| !self.last.contains(&pin.request)).collect();
        if before.is_empty() || fresh.is_empty() || self.before.as_ref() == Some(&before) {
            return Err(PinningError::NoProgress(count));
        }
        self.pages += 1;
        if self.pages == PAGES_MAX {
            return Err(PinningError::TooMany);
        }
        (self.before, self.last) = (Some(before), ids);
        Ok((fresh, false))
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer;
    use super::*;

    const CID: &str = "bafkreiafdxaehozptg73zud3kraoqdyc4vg2jzpwad26m4cnwj4gopmshm";

    fn page(count: u64, pins: &[(&str, &str)]) -> Page {
        let pins = pins.iter().map(|(id, created)| {
            let text = format!(
                r#"{{"requestid":"{id}","status":"pinned","created":"{created}","pin":{{"cid":"{CID}"}}}}"#
            );
            answer::pin(text.as_bytes()).unwrap()
        });
        Page { count, pins: pins.collect() }
    }

    fn ids(taken: Result<(Vec<RemotePin>, bool), PinningError>) -> (Vec<String>, bool) {
        let (pins, is_last) = taken.unwrap();
        (pins.into_iter().map(|pin| pin.request.as_str().to_owned()).collect(), is_last)
    }

    #[test]
    fn pages_follow_each_other_to_the_last() {
        let mut pager = Pager::default();
        assert_eq!(
            ids(pager.take(page(3, &[("c", "3"), ("b", "2")]))),
            (vec!["c".into(), "b".into()], false)
        );
        assert_eq!(pager.before.as_deref(), Some("2"));
        // What came before is not given twice.
        assert_eq!(ids(pager.take(page(2, &[("b", "2"), ("a", "1")]))), (vec!["a".into()], true));
        assert_eq!(ids(Pager::default().take(page(0, &[]))), (vec![], true));
    }

    #[test]
    fn a_service_that_does_not_page_is_not_asked_for_ever() {
        let mut pager = Pager::default();
        let same = || page(9, &[("c", "3"), ("b", "2")]);
        pager.take(same()).unwrap();
        assert!(matches!(pager.take(same()), Err(PinningError::NoProgress(9))));
        let mut pager = Pager::default();
        pager.take(page(9, &[("a", "1")])).unwrap();
        assert!(matches!(pager.take(page(9, &[("b", "1")])), Err(PinningError::NoProgress(9))));
        assert!(matches!(Pager::default().take(page(9, &[("a", "")])), Err(PinningError::NoProgress(9))));
        assert!(matches!(Pager::default().take(page(4, &[])), Err(PinningError::NoResults(4))));
        let mut pager = Pager::default();
        let endless = (0..=PAGES_MAX).find_map(|at| {
            let at = at.to_string();
            pager.take(page(u64::MAX, &[(&at, &at)])).err()
        });
        assert!(matches!(endless, Some(PinningError::TooMany)), "{endless:?}");
    }
}
