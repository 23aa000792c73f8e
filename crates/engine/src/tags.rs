//! The words that strategies gave their orders: a side table by client order id, for reports. It is not journaled and decides
//! nothing.
//!
//! Invariant: bounded; the words of the oldest orders go first.

use keel_model::ClientOrderId;
use keel_strategy::Tag;
use std::collections::VecDeque;

/// The most orders whose words are kept. What exceeds it pushes out the oldest.
pub const TAGS_MAX: usize = 65_536;

/// Tags by client order id.
#[derive(Clone, Debug, Default)]
pub struct TagBook {
    /// In the order of the ids.
    tags: VecDeque<(ClientOrderId, Tag)>,
}

impl TagBook {
    /// Keeps the word of an order; the last one counts.
    pub fn set(&mut self, id: ClientOrderId, tag: Tag) {
        match self.tags.back() {
            Some((last, _)) if *last >= id => match self.tags.binary_search_by_key(&id, |(known, _)| *known) {
                Ok(at) => {
                    if let Some(known) = self.tags.get_mut(at) {
                        known.1 = tag;
                    }
                    return;
                }
                Err(at) => self.tags.insert(at, (id, tag)),
            },
            _ => self.tags.push_back((id, tag)),
        }
        if self.tags.len() > TAGS_MAX {
            self.tags.pop_front();
        }
    }

    /// The word of an order, where one was given and is still kept.
    #[must_use]
    pub fn get(&self, id: ClientOrderId) -> Option<Tag> {
        let at = self.tags.binary_search_by_key(&id, |(known, _)| *known).ok()?;
        self.tags.get(at).map(|(_, tag)| *tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(sequence: u64) -> ClientOrderId {
        ClientOrderId { instance: 1, epoch: 1, sequence }
    }

    #[test]
    fn words_are_found_in_any_order_and_the_oldest_go_first() {
        let mut book = TagBook::default();
        for sequence in [5, 9, 7, 9] {
            book.set(id(sequence), Tag::ROI);
        }
        book.set(id(7), Tag::TIME);
        assert_eq!(
            (book.get(id(5)), book.get(id(7)), book.get(id(9))),
            (Some(Tag::ROI), Some(Tag::TIME), Some(Tag::ROI))
        );
        assert_eq!(book.get(id(6)), None);
        (10..=TAGS_MAX as u64 + 8).for_each(|sequence| book.set(id(sequence), Tag::SIGNAL));
        assert_eq!((book.get(id(7)), book.get(id(9)), book.tags.len()), (None, Some(Tag::ROI), TAGS_MAX));
    }
}
