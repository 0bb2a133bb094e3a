//! Tables of weak references, and maps whose keys keep values alive.

use std::collections::HashMap;

use mimalloc_runtime::cell::Cell;
use mimalloc_runtime::{Budget, EphemeronMap, Mutator, Ref, Runtime, Tail, Trace, WeakSet};
use proptest::prelude::*;

use crate::SCALE;

fn attach() -> Mutator {
    Runtime::new().unwrap().attach().unwrap()
}

fn live(mutator: &Mutator) -> u64 {
    mutator.metrics().live.now.objects
}

fn collect(mutator: &Mutator) {
    while !mutator.collect(Budget::Units(1000)).is_done() {}
}

type Text = Tail<(), u8>;

fn intern(mutator: &Mutator, table: &mut WeakSet<Text>, text: &str) -> Ref<Text> {
    // Few hashes, so that many are alike.
    let hash = text.bytes().map(u64::from).sum();
    if let Some(found) = table.find(hash, |known| known.items() == text.as_bytes()) {
        return found;
    }
    let new = mutator.alloc_tail_copy((), text.as_bytes()).unwrap();
    table.insert(mutator, hash, &new).unwrap();
    new
}

#[test]
fn a_table_knows_what_lives_and_keeps_nothing_alive() {
    let mutator = attach();
    let mut table = WeakSet::new();
    let count = 20_000 / SCALE;
    let texts: Vec<_> = (0..count).map(|index| intern(&mutator, &mut table, &format!("{index}"))).collect();
    for (index, text) in texts.iter().enumerate() {
        assert!(Ref::ptr_eq(text, &intern(&mutator, &mut table, &format!("{index}"))));
    }
    assert_eq!(table.len(), count);
    let kept: Vec<_> = texts.into_iter().step_by(10).collect();
    for index in 0..count {
        let hash = format!("{index}").bytes().map(u64::from).sum();
        let found = table.find(hash, |known| known.items() == format!("{index}").as_bytes());
        assert_eq!(found.is_some(), index % 10 == 0);
    }
    // Twice round finds every one, and what is left is no more than what lives.
    let cleared = table.sweep(2 * count);
    assert_eq!((table.len(), cleared), (kept.len(), count - kept.len()));
    assert!(table.remove(0, |_| true).is_none());
    let gone = table.remove(u64::from(b'0'), |known| known.items() == b"0").unwrap();
    assert!(Ref::ptr_eq(&gone, &kept[0]));
    assert_eq!(table.len(), kept.len() - 1);
    drop((kept, gone, table));
    collect(&mutator);
    assert_eq!(mutator.metrics().in_use_bytes, 0);
}

/// What insertions clear by themselves is enough for a program that goes on.
#[test]
fn a_table_of_short_lives_stays_small() {
    let mutator = attach();
    let mut table = WeakSet::new();
    let mut most = 0;
    for index in 0..100_000u64 / SCALE as u64 {
        let text: Ref<Text> = mutator.alloc_tail_copy((), b"text").unwrap();
        table.insert(&mutator, index, &text).unwrap();
        most = most.max(table.len());
    }
    assert!(most <= 512, "{most}");
}

/// A look at every insertion, and at the death of a table of a million entries.
#[test]
fn no_step_is_longer_than_another() {
    let mutator = attach();
    let mut table = WeakSet::new();
    let object = mutator.alloc(5u32).unwrap();
    let count = 1_000_000 / SCALE as u64;
    for hash in 0..count {
        table.insert(&mutator, hash, &object).unwrap();
    }
    assert_eq!(table.find(count - 1, |_| true).as_deref(), Some(&5));
    drop(table);
    let mut steps = 0;
    loop {
        let progress = mutator.collect(Budget::Units(1000));
        assert!(progress.units <= 1008);
        steps += 1;
        if progress.is_done() {
            break;
        }
    }
    assert!(steps as u64 > count * 2 / 1008);
    drop(object);
    collect(&mutator);
    assert_eq!(mutator.metrics().in_use_bytes, 0);
}

#[derive(Trace, Default)]
struct Node {
    number: u32,
    next: Cell<Option<Ref<Node>>>,
}

fn node(mutator: &Mutator, number: u32) -> Ref<Node> {
    mutator.alloc(Node { number, ..Node::default() }).unwrap()
}

fn number_of(map: &EphemeronMap<Node>, key: &Ref<Node>) -> Option<u32> {
    map.get(key).map(|value| value.number)
}

#[test]
fn a_map_has_one_value_for_a_key() {
    let mutator = attach();
    let (mut map, mut other) = (EphemeronMap::new(), EphemeronMap::new());
    let (one, two) = (node(&mutator, 1), node(&mutator, 2));
    assert_eq!(number_of(&map, &one), None);
    assert!(map.insert(&mutator, &one, node(&mutator, 10)).unwrap().is_none());
    assert!(other.insert(&mutator, &one, node(&mutator, 20)).unwrap().is_none());
    assert_eq!((number_of(&map, &one), number_of(&other, &one), number_of(&map, &two)), (Some(10), Some(20), None));
    assert_eq!(map.insert(&mutator, &one, node(&mutator, 11)).unwrap().unwrap().number, 10);
    assert_eq!((number_of(&map, &one), map.len()), (Some(11), 1));
    assert_eq!(map.remove(&one).unwrap().number, 11);
    assert!(map.remove(&one).is_none() && map.is_empty());
    assert_eq!((number_of(&map, &one), number_of(&other, &one)), (None, Some(20)));
    drop((one, two, map, other));
    collect(&mutator);
    assert_eq!(mutator.metrics().in_use_bytes, 0);
}

#[test]
fn a_value_goes_with_its_key_or_with_its_map() {
    let mutator = attach();
    let mut map = EphemeronMap::new();
    let (one, two) = (node(&mutator, 1), node(&mutator, 2));
    let values = [node(&mutator, 10), node(&mutator, 20)];
    let weak = values.each_ref().map(|value| Ref::downgrade(value).unwrap());
    for (key, value) in [&one, &two].into_iter().zip(values) {
        map.insert(&mutator, key, value).unwrap();
    }
    drop(one);
    collect(&mutator);
    assert!(weak[0].is_gone() && !weak[1].is_gone());
    assert_eq!((map.sweep(1000), map.len()), (1, 1));
    drop(map);
    collect(&mutator);
    assert!(weak[1].is_gone());
    // What is left at the key goes with the next map that it is a key of.
    let before = live(&mutator);
    for _ in 0..100 {
        EphemeronMap::new().insert(&mutator, &two, node(&mutator, 5)).unwrap();
        collect(&mutator);
    }
    assert!(live(&mutator) <= before + 3, "{} of {before}", live(&mutator));
    drop((two, weak));
    collect(&mutator);
    assert_eq!(mutator.metrics().in_use_bytes, 0);
}

/// The point of it: through a map that lives, neither a key nor a value keeps itself or the other alive.
#[test]
fn a_value_that_refers_to_its_key_does_not_keep_it_alive() {
    for units in [1, 7, 100_000] {
        let mutator = attach();
        let mut map = EphemeronMap::new();
        // A chain of keys, each value the next but one; the last leads to the first.
        let keys: Vec<_> = (0..50).map(|number| node(&mutator, number)).collect();
        for (index, key) in keys.iter().enumerate() {
            let value = node(&mutator, 100);
            value.next.set(Some(keys[(index + 1) % 50].clone()));
            map.insert(&mutator, key, value).unwrap();
        }
        // A key of a type that is in no cycles by itself.
        let text: Ref<Text> = mutator.alloc_tail_copy((), b"key").unwrap();
        let mut of_text: EphemeronMap<Cell<Option<Ref<Text>>>> = EphemeronMap::new();
        let value = mutator.alloc(Cell::new(Some(text.clone()))).unwrap();
        of_text.insert(&mutator, &text, value).unwrap();
        let weak = Ref::downgrade(&text).unwrap();
        drop(text);
        let kept = keys[20].clone();
        drop(keys);
        while !mutator.collect(Budget::Units(units)).is_done() {}
        mutator.collect(Budget::Unbounded);
        assert!(weak.is_gone());
        assert_eq!(map.sweep(1000), 0);
        let mut at = kept.clone();
        for _ in 0..50 {
            let value = map.get(&at).unwrap();
            let next = value.next.take().unwrap();
            value.next.set(Some(next.clone()));
            at = next;
        }
        assert!(Ref::ptr_eq(&at, &kept));
        drop((kept, at));
        while !mutator.collect(Budget::Units(units)).is_done() {}
        mutator.collect(Budget::Unbounded);
        assert_eq!((map.sweep(1000), map.len()), (50, 0));
        drop((map, of_text, weak));
        collect(&mutator);
        assert_eq!(mutator.metrics().in_use_bytes, 0);
    }
}

#[test]
fn a_map_may_be_a_field_and_its_own_value() {
    #[derive(Trace)]
    struct Holder {
        map: mimalloc_runtime::cell::RefCell<EphemeronMap<Holder>>,
    }
    let mutator = attach();
    let holder = || mutator.alloc(Holder { map: Default::default() }).unwrap();
    let (one, key) = (holder(), holder());
    one.map.borrow_mut().insert(&mutator, &key, one.clone()).unwrap();
    key.map.borrow_mut().insert(&mutator, &one, key.clone()).unwrap();
    assert!(Ref::ptr_eq(&one.map.borrow().get(&key).unwrap(), &one));
    drop((one, key));
    mutator.collect(Budget::Unbounded);
    assert_eq!((live(&mutator), mutator.metrics().in_use_bytes), (0, 0));
}

#[test]
fn without_memory_a_map_is_as_it_was() {
    let mutator = attach();
    let mut failed = 0;
    for nth in 1.. {
        let mut map = EphemeronMap::new();
        let (key, value) = (node(&mutator, 1), node(&mutator, 2));
        mutator.fail_allocation(nth);
        let inserted = map.insert(&mutator, &key, value);
        mutator.fail_allocation(0);
        match inserted {
            Err(error) => {
                failed += 1;
                assert_eq!((error.value.number, number_of(&map, &key)), (2, None));
                map.insert(&mutator, &key, error.value).unwrap();
                assert_eq!(number_of(&map, &key), Some(2));
            }
            Ok(_) => break,
        }
    }
    assert!(failed >= 5, "{failed}");
    collect(&mutator);
    assert_eq!(mutator.metrics().in_use_bytes, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500 / SCALE.min(25) as u32, ..ProptestConfig::default() })]

    /// Three maps against three of the standard library. Keys come and go.
    #[test]
    fn maps_are_maps(ops in proptest::collection::vec((0..6u8, 0..3usize, 0..30u32, 0..1000u32), 1..300)) {
        let mutator = attach();
        let mut keys: HashMap<u32, Ref<Node>> = HashMap::new();
        let mut maps: [EphemeronMap<Node>; 3] = Default::default();
        let mut models: [HashMap<u32, u32>; 3] = Default::default();
        for (op, map, name, value) in ops {
            let key = keys.entry(name).or_insert_with(|| node(&mutator, name)).clone();
            match op {
                0 | 1 => {
                    let before = maps[map].insert(&mutator, &key, node(&mutator, value)).unwrap();
                    prop_assert_eq!(before.map(|value| value.number), models[map].insert(name, value));
                }
                2 => {
                    let removed = maps[map].remove(&key).map(|value| value.number);
                    prop_assert_eq!(removed, models[map].remove(&name));
                }
                3 => {
                    keys.remove(&name);
                    models.iter_mut().for_each(|model| _ = model.remove(&name));
                    continue;
                }
                4 => {
                    maps[map] = EphemeronMap::new();
                    models[map].clear();
                }
                _ => {
                    drop(key);
                    mutator.collect(Budget::Units(u64::from(value) % 20));
                    maps[map].sweep(10);
                    continue;
                }
            }
            for (map, model) in maps.iter().zip(&models) {
                prop_assert_eq!(number_of(map, &key), model.get(&name).copied());
            }
        }
        drop((keys, maps));
        mutator.collect(Budget::Unbounded);
        prop_assert_eq!(mutator.metrics().in_use_bytes, 0);
    }
}
