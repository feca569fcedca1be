//! Values under small keys, which are used again.

/// Values under keys that stay the same as long as the value is there.
#[derive(Debug)]
pub(super) struct Slab<T> {
    items: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { items: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(super) fn insert(&mut self, value: T) -> u32 {
        if let Some(key) = self.free.pop()
            && let Some(slot) = self.items.get_mut(key as usize)
        {
            *slot = Some(value);
            return key;
        }
        self.items.push(Some(value));
        self.items.len() as u32 - 1
    }

    pub(super) fn get(&self, key: u32) -> Option<&T> {
        self.items.get(key as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        self.items.get_mut(key as usize)?.as_mut()
    }

    pub(super) fn remove(&mut self, key: u32) -> Option<T> {
        let value = self.items.get_mut(key as usize)?.take()?;
        self.free.push(key);
        if self.free.len() == self.items.len() {
            // Empty: what a burst took is given back.
            (self.items, self.free) = (Vec::new(), Vec::new());
        }
        Some(value)
    }

    pub(super) fn len(&self) -> usize {
        self.items.len() - self.free.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.items.iter().zip(0_u32..).filter_map(|(item, key)| Some((key, item.as_ref()?)))
    }
}
