//! Objects of every kind that the drain treats in its own way, each with a number to be known by.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mimalloc_runtime::{Mutator, Ref, Tail, Trace, Untyped};

/// A place for a reference to any object.
pub(super) type Slot = Cell<Option<Ref<Untyped>>>;

/// The numbers of objects whose drop has run, in order.
pub(super) type Dropped = Rc<RefCell<Vec<usize>>>;

/// Notes its object's drop.
pub(super) struct Note {
    pub(super) id: usize,
    dropped: Dropped,
}

impl Drop for Note {
    fn drop(&mut self) {
        self.dropped.borrow_mut().push(self.id);
    }
}

/// No slots: freed by the drop itself.
#[derive(Trace)]
pub(super) struct Leaf {
    id: usize,
}

/// Simple: freed by the drop, its referents queued.
#[derive(Trace)]
pub(super) struct Pair {
    id: usize,
    slots: [Slot; 2],
}

/// More slots than are visited in one go.
#[derive(Trace)]
pub(super) struct Wide {
    id: usize,
    slots: [Slot; 12],
}

/// Slots in Rust's own heap, and things to drop.
#[derive(Trace)]
pub(super) struct Fields {
    #[trace(skip)]
    note: Note,
    name: String,
    slots: Vec<Slot>,
}

/// Slots in the object itself, any number, which may grow.
pub(super) type Array = Tail<usize, Slot>;

/// A head, by which it is known.
#[derive(Trace)]
pub(super) struct Head(#[trace(skip)] pub(super) Note);

/// Bytes, and something to drop.
pub(super) type Text = Tail<Head, u8>;

pub(super) enum Handle {
    Leaf(Ref<Leaf>),
    Pair(Ref<Pair>),
    Wide(Ref<Wide>),
    Fields(Ref<Fields>),
    Array(Ref<Array>),
    Text(Ref<Text>),
}

/// How many kinds there are.
pub(super) const KINDS: u8 = 6;

/// Slots of an object of `kind`, of which `len` is the length if it has one.
pub(super) fn slots(kind: u8, len: usize) -> usize {
    match kind {
        1 => 2,
        2 => 12,
        3 | 4 => len,
        _ => 0,
    }
}

pub(super) fn byte(id: usize, index: usize) -> u8 {
    (id * 7 + index) as u8
}

impl Handle {
    /// A new object of `kind` with the number `id`, or none if there is no memory.
    pub(super) fn new(mutator: &Mutator, kind: u8, len: usize, id: usize, dropped: &Dropped) -> Option<Handle> {
        let note = || Note { id, dropped: Rc::clone(dropped) };
        Some(match kind {
            0 => Handle::Leaf(mutator.alloc(Leaf { id }).ok()?),
            1 => Handle::Pair(mutator.alloc(Pair { id, slots: Default::default() }).ok()?),
            2 => Handle::Wide(mutator.alloc(Wide { id, slots: Default::default() }).ok()?),
            3 => {
                let slots = (0..len).map(|_| Slot::default()).collect();
                Handle::Fields(mutator.alloc(Fields { note: note(), name: id.to_string(), slots }).ok()?)
            }
            4 => Handle::Array(mutator.alloc_tail(id, len, |_| Slot::default()).ok()?),
            _ => Handle::Text(mutator.alloc_tail(Head(note()), len, |index| byte(id, index)).ok()?),
        })
    }

    /// Reads all of the object, and returns its number.
    pub(super) fn id(&self) -> usize {
        match self {
            Handle::Leaf(leaf) => leaf.id,
            Handle::Pair(pair) => pair.id,
            Handle::Wide(wide) => wide.id,
            Handle::Fields(fields) => {
                assert_eq!(fields.name, fields.note.id.to_string());
                fields.note.id
            }
            Handle::Array(array) => *array.head(),
            Handle::Text(text) => {
                let id = text.head().0.id;
                // Of millions some will do.
                let step = if text.items().len() < 1 << 16 { 1 } else { 99_991 };
                assert!(text.items().iter().enumerate().step_by(step).all(|(index, item)| *item == byte(id, index)));
                id
            }
        }
    }

    pub(super) fn slots(&self) -> &[Slot] {
        match self {
            Handle::Leaf(_) | Handle::Text(_) => &[],
            Handle::Pair(pair) => &pair.slots,
            Handle::Wide(wide) => &wide.slots,
            Handle::Fields(fields) => &fields.slots,
            Handle::Array(array) => array.items(),
        }
    }

    pub(super) fn untyped(&self) -> Ref<Untyped> {
        match self {
            Handle::Leaf(leaf) => Ref::erase(leaf.clone()),
            Handle::Pair(pair) => Ref::erase(pair.clone()),
            Handle::Wide(wide) => Ref::erase(wide.clone()),
            Handle::Fields(fields) => Ref::erase(fields.clone()),
            Handle::Array(array) => Ref::erase(array.clone()),
            Handle::Text(text) => Ref::erase(text.clone()),
        }
    }

    /// The handle with its type, found out at run time.
    pub(super) fn typed(mut object: Ref<Untyped>) -> Handle {
        macro_rules! attempt {
            ($($kind:ident)*) => {$(
                assert_eq!(Ref::is::<$kind>(&object), Ref::downcast_ref::<$kind>(&object).is_some());
                object = match Ref::downcast::<$kind>(object) {
                    Ok(typed) => return Handle::$kind(typed),
                    Err(object) => object,
                };
            )*};
        }
        attempt!(Leaf Pair Wide Fields Array Text);
        panic!("an object of no kind: {object:?}")
    }

    /// Whether this is the only reference, as the handle says and as `get_mut` and `parts_mut` do.
    pub(super) fn is_unique(&mut self) -> bool {
        macro_rules! agree {
            ($handle:ident, $get_mut:expr) => {{
                let unique = Ref::is_unique($handle);
                assert_eq!(unique, $get_mut.is_some());
                unique
            }};
        }
        match self {
            Handle::Leaf(leaf) => agree!(leaf, Ref::get_mut(leaf)),
            Handle::Pair(pair) => agree!(pair, Ref::get_mut(pair)),
            Handle::Wide(wide) => agree!(wide, Ref::get_mut(wide)),
            Handle::Fields(fields) => agree!(fields, Ref::get_mut(fields)),
            Handle::Array(array) => agree!(array, array.parts_mut()),
            Handle::Text(text) => agree!(text, text.parts_mut()),
        }
    }
}
