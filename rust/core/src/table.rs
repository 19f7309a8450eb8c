//! A table whose keys count up: the rows of neighbours lie together.
//!
//! ```text
//!   key ─▶ (page, place)       page ─▶ hash table ─▶ up to 16 rows side by side
//! ```
//!
//! Ids are counted, and what is made together is used together: tasks that were queued one after the other
//! run in that order, items are read in the order of their yields. So all but every sixteenth look into the
//! table finds its row beside the one before, and a table that is larger than the caches stays as quick as a
//! small one. Nothing is kept in reserve by doubling, either.
//!
//! Invariant: every page but at most one, the one that was emptied last, has a row. What it costs that only
//! one row of a page is left is at most fifteen empty places of a row's size.

use std::ops::Index;

use rustc_hash::FxHashMap;

use crate::id::{ObjectId, TaskId};
use crate::shrink::Shrink as _;

/// Rows of a page.
const ROWS: u64 = 16;
/// Up to this index the same returns of neighbouring tasks share pages; beyond it those of one task do.
const NEAR: u32 = 4;

/// Names a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PageKey(u64, u32);

/// What a table can be kept by.
pub(crate) trait Key: Copy {
    /// Its page, and its place there.
    fn place(self) -> (PageKey, usize);
    /// The key with that place.
    fn at(page: PageKey, place: usize) -> Self;
}

impl Key for TaskId {
    fn place(self) -> (PageKey, usize) {
        (PageKey(self.0 / ROWS, 0), (self.0 % ROWS) as usize)
    }

    fn at(PageKey(page, _): PageKey, place: usize) -> Self {
        Self(page * ROWS + place as u64)
    }
}

impl Key for ObjectId {
    fn place(self) -> (PageKey, usize) {
        let Self { task, index } = self;
        if index <= NEAR {
            return (PageKey(task.0 / ROWS, index), (task.0 % ROWS) as usize);
        }
        let at = index - NEAR - 1;
        let page = at / ROWS as u32;
        (PageKey(task.0, NEAR + 1 + page), (at % ROWS as u32) as usize)
    }

    fn at(PageKey(high, low): PageKey, place: usize) -> Self {
        if low <= NEAR {
            return Self { task: TaskId::at(PageKey(high, 0), place), index: low };
        }
        let index = NEAR + 1 + (low - NEAR - 1) * ROWS as u32 + place as u32;
        Self { task: TaskId(high), index }
    }
}

/// Sixteen places; those behind the last that was ever filled are not there.
#[derive(Debug)]
struct Page<V> {
    rows: Vec<Option<V>>,
    /// How many are filled.
    len: u32,
}

/// One row for each key that has one.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    pages: FxHashMap<PageKey, Page<V>>,
    len: usize,
    /// The page that was emptied last: it stays till the next one is, because tasks that come and go one by
    /// one empty theirs each time.
    emptied: Option<PageKey>,
    /// The places of the page that was emptied before it, for the next new one.
    spare: Vec<Option<V>>,
    keys: std::marker::PhantomData<K>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            pages: FxHashMap::default(),
            len: 0,
            emptied: None,
            spare: Vec::new(),
            keys: std::marker::PhantomData,
        }
    }
}

impl<K: Key, V> Table<K, V> {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let (page, place) = key.place();
        self.pages.get(&page)?.rows.get(place)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (page, place) = key.place();
        self.pages.get_mut(&page)?.rows.get_mut(place)?.as_mut()
    }

    /// Puts a row there, and gives back the one that was there.
    pub(crate) fn insert(&mut self, key: K, row: V) -> Option<V> {
        let (page, place) = key.place();
        let spare = &mut self.spare;
        let page =
            self.pages.entry(page).or_insert_with(|| Page { rows: std::mem::take(spare), len: 0 });
        if page.rows.len() <= place {
            page.rows.resize_with(place + 1, || None);
        }
        let old = page.rows[place].replace(row);
        page.len += u32::from(old.is_none());
        self.len += usize::from(old.is_none());
        old
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let (at, place) = key.place();
        let page = self.pages.get_mut(&at)?;
        let old = page.rows.get_mut(place)?.take()?;
        page.len -= 1;
        self.len -= 1;
        if page.len == 0 {
            self.emptied(at);
        }
        Some(old)
    }

    /// That page has no row any more: the one before that had none goes, if it is still so.
    fn emptied(&mut self, page: PageKey) {
        let Some(before) = self.emptied.replace(page).filter(|before| *before != page) else {
            return;
        };
        if self.pages.get(&before).is_some_and(|page| page.len == 0)
            && let Some(mut page) = self.pages.remove(&before)
        {
            page.rows.clear();
            self.spare = page.rows;
            self.pages.shrink();
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.pages.iter().flat_map(|(page, Page { rows, .. })| {
            let rows = rows.iter().enumerate();
            rows.filter_map(|(place, row)| Some((K::at(*page, place), row.as_ref()?)))
        })
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.pages.values().flat_map(|page| page.rows.iter().flatten())
    }
}

impl<K: Key, V> Index<&K> for Table<K, V> {
    type Output = V;
    fn index(&self, key: &K) -> &V {
        self.get(key).expect("the caller knows that it is in the table")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ClientId;

    #[test]
    fn each_key_has_a_place_of_its_own() {
        let mut places = std::collections::HashSet::new();
        for counter in 1..40 {
            for client in 0..2 {
                let task = TaskId::new(ClientId(client), counter);
                let (page, place) = task.place();
                assert_eq!(TaskId::at(page, place), task);
                for index in 0..100 {
                    let object = ObjectId { task, index };
                    let (page, place) = object.place();
                    assert!(place < ROWS as usize && places.insert((page, place)), "{object:?}");
                    assert_eq!(ObjectId::at(page, place), object);
                }
            }
        }
    }

    #[test]
    fn table_says_what_a_hash_table_says() {
        let mut table = Table::default();
        let mut model = std::collections::HashMap::new();
        let mut random = 7_u64;
        for step in 0..20_000_u32 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = TaskId(random >> 33 & 0xff);
            if random >> 60 < 8 {
                assert_eq!(table.insert(key, step), model.insert(key, step));
            } else {
                assert_eq!(table.remove(&key), model.remove(&key));
            }
            assert_eq!((table.len(), table.get(&key)), (model.len(), model.get(&key)));
        }
        assert!(table.iter().all(|(key, row)| model.remove(&key) == Some(*row)));
        assert!(model.is_empty());
    }

    #[test]
    fn all_pages_but_one_go_with_their_last_rows() {
        let mut table = Table::default();
        let keys = || (1..10_000).map(|counter| TaskId::new(ClientId::DRIVER, counter));
        keys().for_each(|key| assert!(table.insert(key, ()).is_none()));
        keys().for_each(|key| assert!(table.remove(&key).is_some()));
        assert!(table.pages.len() == 1 && table.is_empty());
    }
}
