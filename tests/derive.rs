//! `#[derive(Trace)]`: what it visits, what it drops, what it accepts.
//!
//! Slots are counted through the units of a collection: an object's slots, and one for the object itself.
// The derive writes `unsafe` so that its users need not.
#![cfg(feature = "derive")]
#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use mimalloc_runtime::{Budget, Mutator, Ref, Runtime, SLACK_UNITS, Slots, Stop, Tail, Trace, Untyped};

fn mutator() -> Mutator {
    Runtime::new().expect("a runtime").attach().expect("a mutator")
}

/// An object that other tests refer to: no slots, no residue, so it takes one unit.
fn leaf(mutator: &Mutator) -> Ref<u64> {
    mutator.alloc(7).expect("memory")
}

/// Keeps an object until a collection: its text has to be dropped, so it does not die at once.
#[derive(Trace)]
struct Keeper<T>(Ref<T>, String);

/// Units that it takes to free an object that holds `value`, without the one unit for the object itself.
fn units_to_free<T: Trace>(mutator: &Mutator, value: T) -> u64 {
    let object = mutator.alloc(value).expect("memory");
    drop(mutator.alloc(Keeper(object, String::new())).expect("memory"));
    let progress = mutator.collect(Budget::Unbounded);
    assert!(progress.is_done());
    let keeper = 1 + 1;
    progress.units - keeper - 1
}

/// Notes its name when it is dropped.
struct Noted {
    name: &'static str,
    log: Rc<RefCell<Vec<&'static str>>>,
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.log.borrow_mut().push(self.name);
    }
}

#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<&'static str>>>);

impl Log {
    fn note(&self, name: &'static str) -> Noted {
        Noted { name, log: Rc::clone(&self.0) }
    }

    fn read(&self) -> Vec<&'static str> {
        self.0.take()
    }
}

// ---- the smallest use ----

#[derive(Trace)]
struct Pair {
    first: Option<Ref<Pair>>,
    second: Option<Ref<Pair>>,
    name: String,
    #[trace(skip)]
    native: Option<fn(&Pair) -> usize>,
}

#[test]
fn a_type_that_refers_to_itself() {
    let mutator = mutator();
    let pair = |first, second, name: &str| {
        let native: fn(&Pair) -> usize = |pair| pair.name.len();
        mutator.alloc(Pair { first, second, name: name.to_owned(), native: Some(native) }).expect("memory")
    };
    let shared = pair(None, None, "shared");
    let root = pair(Some(shared.clone()), Some(pair(Some(shared), None, "inner")), "root");
    assert_eq!(root.first.as_ref().and_then(|pair| pair.native.map(|native| native(pair))), Some(6));
    drop(root);
    let progress = mutator.collect(Budget::Unbounded);
    assert_eq!((progress.freed.objects, progress.units), (3, 3 + 3 * 2));
    assert_eq!(mutator.detach().live.objects, 0);
}

// ---- slots ----

#[derive(Trace)]
struct Unit;

#[derive(Trace)]
struct Tuple(Ref<u64>, u8, Option<Ref<u64>>);

#[derive(Trace)]
struct Named {
    one: Ref<u64>,
    inner: Tuple,
    many: [Option<Ref<u64>>; 5],
}

#[derive(Trace)]
enum Value {
    Nil,
    Number(f64),
    Object(Ref<Untyped>),
    Range { from: Option<Ref<u64>>, step: u8, to: Option<Ref<u64>> },
}

#[derive(Trace)]
enum Never {}

#[derive(Trace)]
enum Fieldless {
    A,
    B = 7,
}

#[derive(Trace)]
enum List {
    Inline(Ref<u64>),
    Heap(Vec<Value>),
}

#[test]
fn slots_are_the_sum_over_fields_and_the_maximum_over_variants() {
    assert_eq!(Unit::SLOTS, Slots::Fixed(0));
    assert_eq!(Tuple::SLOTS, Slots::Fixed(2));
    assert_eq!(Named::SLOTS, Slots::Fixed(8));
    assert_eq!(Value::SLOTS, Slots::Fixed(2));
    assert_eq!(Never::SLOTS, Slots::Fixed(0));
    assert_eq!(Fieldless::SLOTS, Slots::Fixed(0));
    assert_eq!(List::SLOTS, Slots::Varying);
    assert_eq!(Fieldless::B as u8, Fieldless::A as u8 + 7);
}

#[test]
fn a_struct_visits_all_its_slots() {
    let mutator = mutator();
    let tuple = || Tuple(leaf(&mutator), 0, None);
    // Two slots, and the leaf.
    assert_eq!(units_to_free(&mutator, tuple()), 2 + 1);
    let named = Named { one: leaf(&mutator), inner: tuple(), many: [const { None }; 5] };
    assert_eq!(units_to_free(&mutator, named), 8 + 2);
}

#[test]
fn every_variant_passes_as_many_slots_as_the_largest() {
    let mutator = mutator();
    let range = |from, to| Value::Range { from, step: 1, to };
    assert_eq!(units_to_free(&mutator, Value::Nil), 2);
    assert_eq!(units_to_free(&mutator, Value::Number(0.5)), 2);
    assert_eq!(units_to_free(&mutator, Value::Object(Ref::erase(leaf(&mutator)))), 2 + 1);
    assert_eq!(units_to_free(&mutator, range(None, None)), 2);
    assert_eq!(units_to_free(&mutator, range(Some(leaf(&mutator)), Some(leaf(&mutator)))), 2 + 2);
}

#[test]
fn an_enum_that_varies_is_not_padded() {
    let mutator = mutator();
    assert_eq!(units_to_free(&mutator, List::Inline(leaf(&mutator))), 1 + 1);
    assert_eq!(units_to_free(&mutator, List::Heap(Vec::new())), 0);
    assert_eq!(units_to_free(&mutator, List::Heap(vec![Value::Nil, Value::Nil, Value::Nil])), 3 * 2);
}

/// Promise P1, and that a visit resumes where it stopped, for items that are enums.
#[test]
fn a_tail_of_enums_is_freed_within_any_budget() {
    let mutator = mutator();
    for budget in [1, 2, 3, 7, 64] {
        let items = 1_000;
        let tail: Ref<Tail<(), Value>> = mutator
            .alloc_tail((), items, |index| match index % 4 {
                0 => Value::Nil,
                1 => Value::Number(1.0),
                2 => Value::Object(Ref::erase(leaf(&mutator))),
                _ => Value::Range { from: None, step: 0, to: Some(leaf(&mutator)) },
            })
            .expect("memory");
        drop(tail);
        let (mut units, mut objects) = (0, 0);
        loop {
            let progress = mutator.collect(Budget::Units(budget));
            assert!(progress.units <= budget + SLACK_UNITS, "{} units on a budget of {budget}", progress.units);
            units += progress.units;
            objects += progress.freed.objects;
            if progress.stop == Stop::Done {
                break;
            }
        }
        let leaves = items as u64 / 2;
        assert_eq!((units, objects), (2 * items as u64 + leaves + 1, leaves + 1));
    }
}

#[test]
fn a_struct_of_many_slots_resumes_between_its_fields() {
    #[derive(Trace)]
    struct Wide {
        front: [Ref<u64>; 7],
        middle: Vec<Ref<u64>>,
        back: (Ref<u64>, Ref<u64>),
    }
    let mutator = mutator();
    let wide = Wide {
        front: std::array::from_fn(|_| leaf(&mutator)),
        middle: (0..50).map(|_| leaf(&mutator)).collect(),
        back: (leaf(&mutator), leaf(&mutator)),
    };
    drop(mutator.alloc(wide).expect("memory"));
    let mut freed = 0;
    while mutator.collect(Budget::Units(3)).stop == Stop::Budget {
        freed += 1;
        assert!(freed < 1_000, "no end");
    }
    assert_eq!(mutator.metrics().live.now.objects, 0);
}

#[test]
fn fields_of_the_standard_library() {
    #[derive(Trace)]
    struct Fields {
        option: Option<Ref<u64>>,
        boxed: Box<Option<Ref<u64>>>,
        vec: Vec<Ref<u64>>,
        pairs: Box<[(Ref<u64>, u8)]>,
        slice: Box<[Ref<u64>]>,
        ref_cell: RefCell<Option<Ref<u64>>>,
        cell: Cell<Option<Ref<u64>>>,
        shared: Rc<str>,
        text: &'static str,
    }
    let mutator = mutator();
    let fields = Fields {
        option: Some(leaf(&mutator)),
        boxed: Box::new(Some(leaf(&mutator))),
        vec: vec![leaf(&mutator), leaf(&mutator)],
        pairs: Box::from([(leaf(&mutator), 0), (leaf(&mutator), 1), (leaf(&mutator), 2)]),
        slice: Box::new([leaf(&mutator)]),
        ref_cell: RefCell::new(None),
        cell: Cell::new(None),
        shared: Rc::from("shared"),
        text: "text",
    };
    let shared = Rc::clone(&fields.shared);
    let object = mutator.alloc(fields).expect("memory");
    *object.ref_cell.borrow_mut() = Some(leaf(&mutator));
    object.cell.set(Some(leaf(&mutator)));
    assert_eq!((object.option.as_deref(), object.boxed.as_deref(), object.text), (Some(&7), Some(&7), "text"));
    assert_eq!((object.vec.len(), object.pairs.len(), object.slice.len()), (2, 3, 1));
    drop(object);
    let progress = mutator.collect(Budget::Unbounded);
    assert_eq!((progress.freed.objects, progress.units), (1 + 10, 10 + 11));
    assert_eq!(Rc::strong_count(&shared), 1);
}

// ---- skipped fields, and the residue of the others ----

/// Without slots: a foreign type.
struct Foreign(#[expect(dead_code, reason = "is there to be dropped")] Noted);

#[test]
fn a_skipped_field_has_no_slots_and_is_dropped_once() {
    #[derive(Trace)]
    struct Skipping {
        #[trace(skip)]
        foreign: Option<Foreign>,
        reference: Ref<u64>,
        #[trace(skip)]
        references: Vec<Ref<u64>>,
    }
    #[derive(Trace)]
    enum Either {
        Skipped(#[trace(skip)] Foreign),
        Partly {
            reference: Ref<u64>,
            #[trace(skip)]
            foreign: Foreign,
        },
    }
    let (mutator, log) = (mutator(), Log::default());
    assert_eq!((Skipping::SLOTS, Either::SLOTS), (Slots::Fixed(1), Slots::Fixed(1)));

    let references = vec![leaf(&mutator), leaf(&mutator)];
    let skipping = Skipping { foreign: Some(Foreign(log.note("foreign"))), reference: leaf(&mutator), references };
    drop(mutator.alloc(skipping).expect("memory"));
    assert_eq!(log.read(), [""; 0], "only a collection drops it");
    assert_eq!(mutator.collect(Budget::Unbounded).units, 1 + 1 + 1);
    assert_eq!(log.read(), ["foreign"]);
    assert_eq!(mutator.metrics().live.now.objects, 0, "references in skipped fields are counted down");

    assert_eq!(units_to_free(&mutator, Either::Skipped(Foreign(log.note("skipped")))), 1);
    let partly = Either::Partly { reference: leaf(&mutator), foreign: Foreign(log.note("partly")) };
    assert_eq!(units_to_free(&mutator, partly), 1 + 1);
    assert_eq!(log.read(), ["skipped", "partly"]);
}

#[test]
fn residue_is_known_beforehand() {
    #[derive(Trace)]
    struct Plain(Ref<u64>, Value, #[trace(skip)] fn());
    #[derive(Trace)]
    struct Text(Ref<u64>, String);
    #[derive(Trace)]
    struct SkippedText(Ref<u64>, #[trace(skip)] String);
    #[derive(Trace)]
    enum Some1 {
        Without(Ref<u64>),
        With(Box<u8>),
    }
    const { assert!(!Unit::RESIDUE && !Plain::RESIDUE && !Value::RESIDUE) };
    const { assert!(Text::RESIDUE && SkippedText::RESIDUE && Some1::RESIDUE) };
    let mutator = mutator();
    assert_eq!(units_to_free(&mutator, Plain(leaf(&mutator), Value::Nil, || {})), 3 + 1);
    assert_eq!(units_to_free(&mutator, Text(leaf(&mutator), "text".into())), 1 + 1);
    assert_eq!(units_to_free(&mutator, SkippedText(leaf(&mutator), "text".into())), 1 + 1);
    assert_eq!(units_to_free(&mutator, Some1::Without(leaf(&mutator))), 1 + 1);
    assert_eq!(units_to_free(&mutator, Some1::With(Box::new(1))), 1);
}

/// A leaf with residue whose drop is noted, for fields that are not skipped.
#[derive(Trace)]
struct Residual(Ref<u64>, #[trace(skip)] Noted);

#[test]
fn fields_are_dropped_once_in_their_order() {
    #[derive(Trace)]
    struct Fields {
        a: Residual,
        #[trace(skip)]
        b: Noted,
        c: Vec<Residual>,
        d: Box<Residual>,
        #[trace(skip)]
        e: Noted,
    }
    let (mutator, log) = (mutator(), Log::default());
    let residual = |name| Residual(leaf(&mutator), log.note(name));
    let fields = Fields {
        a: residual("a"),
        b: log.note("b"),
        c: vec![residual("c1"), residual("c2")],
        d: Box::new(residual("d")),
        e: log.note("e"),
    };
    assert_eq!(units_to_free(&mutator, fields), 4 + 4);
    assert_eq!(log.read(), ["a", "b", "c1", "c2", "d", "e"]);
    assert_eq!(mutator.detach().live.objects, 0);
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("bomb");
    }
}

#[test]
fn a_panic_in_one_fields_drop_loses_no_other() {
    #[derive(Trace)]
    enum Armed {
        Skipped {
            before: Residual,
            #[trace(skip)]
            bomb: Bomb,
            #[trace(skip)]
            after: Noted,
            last: Residual,
        },
        Traced(Residual, Option<Nested>, Residual),
    }
    #[derive(Trace)]
    struct Nested(#[trace(skip)] Bomb, Residual);

    let (mutator, log) = (mutator(), Log::default());
    let residual = |name| Residual(leaf(&mutator), log.note(name));
    let values = [
        Armed::Skipped { before: residual("before"), bomb: Bomb, after: log.note("after"), last: residual("last") },
        Armed::Traced(residual("before"), Some(Nested(Bomb, residual("after"))), residual("last")),
    ];
    for value in values {
        drop(mutator.alloc(value).expect("memory"));
        let panic = catch_unwind(AssertUnwindSafe(|| mutator.collect(Budget::Unbounded))).expect_err("the bomb");
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"bomb"));
        mutator.collect(Budget::Unbounded);
        assert_eq!(log.read(), ["before", "after", "last"]);
    }
    assert_eq!(mutator.detach().live.objects, 0);
}

// ---- generic types ----

#[test]
fn parameters_of_all_kinds() {
    /// Not `Trace`, and need not be.
    struct Mark;

    trait Owner {
        type Owned;
    }
    impl Owner for Mark {
        type Owned = Ref<u64>;
    }

    #[derive(Trace)]
    struct Generic<T, O: Owner, K = Mark, const N: usize = 2>
    where
        T: Clone,
    {
        values: [T; N],
        nested: Option<Box<(T, u8)>>,
        owned: O::Owned,
        qualified: Option<<O as Owner>::Owned>,
        mark: PhantomData<fn() -> K>,
        next: Option<Ref<Generic<T, O, K, N>>>,
    }

    #[derive(Trace)]
    enum Tree<K, V> {
        Leaf,
        Node { key: K, value: V, left: Ref<Tree<K, V>>, right: Ref<Self> },
    }

    #[derive(Trace)]
    struct Skipping<T, U: ?Sized + 'static>(#[trace(skip)] Option<T>, #[trace(skip)] Box<U>);

    let mutator = mutator();
    let generic = |next| Generic::<_, Mark> {
        values: [leaf(&mutator), leaf(&mutator)],
        nested: None,
        owned: leaf(&mutator),
        qualified: Some(leaf(&mutator)),
        mark: PhantomData,
        next,
    };
    assert_eq!(Generic::<Ref<u64>, Mark>::SLOTS, Slots::Fixed(2 + 1 + 1 + 1 + 1));
    assert_eq!(Generic::<u8, Mark, Mark, 9>::SLOTS, Slots::Fixed(1 + 1 + 1));
    assert_eq!(units_to_free(&mutator, generic(Some(mutator.alloc(generic(None)).expect("memory")))), 6 + 4 + 6 + 5);

    type Entries = Tree<String, Ref<u64>>;
    let leaf_of_tree: Ref<Entries> = mutator.alloc(Tree::Leaf).expect("memory");
    let node =
        Tree::Node { key: "key".to_owned(), value: leaf(&mutator), left: leaf_of_tree.clone(), right: leaf_of_tree };
    assert_eq!(Entries::SLOTS, Slots::Fixed(3));
    assert_eq!(units_to_free(&mutator, node), 3 + 1 + (3 + 1));

    let log = Log::default();
    assert_eq!(Skipping::<Noted, str>::SLOTS, Slots::Fixed(0));
    assert_eq!(units_to_free(&mutator, Skipping::<_, str>(Some(log.note("skipped")), "text".into())), 0);
    assert_eq!(log.read(), ["skipped"]);
}

/// A type of the user's own around a reference, which asks its referent to be `Trace`: no cycle of bounds.
#[test]
fn a_bound_on_the_referent_is_no_cycle() {
    #[derive(Trace)]
    struct Link<T: Trace>(Option<Ref<T>>);
    #[derive(Trace)]
    struct Node<T: Trace> {
        value: T,
        next: Link<Node<T>>,
    }
    let mutator = mutator();
    let last = mutator.alloc(Node { value: 2u8, next: Link(None) }).expect("memory");
    let first = Node { value: 1u8, next: Link(Some(last)) };
    let sum: u8 = first.value + first.next.0.as_ref().map_or(0, |next| next.value);
    assert_eq!(sum, 3);
    assert_eq!(units_to_free(&mutator, first), 1 + 2);
}

// ---- names ----

/// Nothing in scope is what it is called elsewhere.
mod shadowed {
    #![no_implicit_prelude]

    mod bool {}
    mod core {}
    mod mimalloc_runtime {}
    mod std {}
    mod usize {}

    #[derive(::mimalloc_runtime::Trace)]
    pub(crate) struct Option<Trace, Slots, Tracer, Residue, Drop, T> {
        pub(crate) r#type: Trace,
        pub(crate) tracer: [Slots; 2],
        pub(crate) skip: (Tracer, Residue),
        #[trace(skip)]
        pub(crate) slots: (Drop, T),
    }

    #[derive(::mimalloc_runtime::Trace)]
    pub(crate) enum Trace {
        Some(u8, u8),
        None { own: u8, most: ::mimalloc_runtime::Ref<Self> },
        Fixed,
        Residue(#[trace(skip)] fn()),
    }
}

#[test]
fn names_in_scope_do_not_matter() {
    let mutator = mutator();
    let option = shadowed::Option {
        r#type: leaf(&mutator),
        tracer: [leaf(&mutator), leaf(&mutator)],
        skip: (1, leaf(&mutator)),
        slots: (2, 3),
    };
    assert_eq!(units_to_free(&mutator, option), 4 + 4);
    let inner = mutator.alloc(shadowed::Trace::Fixed).expect("memory");
    assert_eq!(units_to_free(&mutator, shadowed::Trace::Some(0, 0)), 1);
    assert_eq!(units_to_free(&mutator, shadowed::Trace::Residue(|| {})), 1);
    assert_eq!(units_to_free(&mutator, shadowed::Trace::None { own: 0, most: inner }), 1 + 2);
}

#[test]
fn types_from_macros() {
    macro_rules! object {
        ($name:ident { $($field:ident: $ty:ty),* }) => {
            #[derive(Trace)]
            struct $name { $($field: $ty,)* own: Option<Ref<$name>> }
        };
    }
    object!(Made { left: Option<Ref<u64>>, text: String });
    let mutator = mutator();
    let made = Made { left: Some(leaf(&mutator)), text: "text".to_owned(), own: None };
    assert_eq!(made.left.as_deref().copied().unwrap_or(0) + made.text.len() as u64, 11);
    assert_eq!(units_to_free(&mutator, made), 2 + 1);
}
