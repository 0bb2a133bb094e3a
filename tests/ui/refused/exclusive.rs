//! What can be changed is borrowed by nobody else.

use mimalloc_runtime::{Ref, Tail};

fn cloned(mut object: Ref<u64>) -> u64 {
    let value = Ref::get_mut(&mut object).unwrap();
    let other = object.clone();
    *value += 1;
    *other
}

fn read(mut object: Ref<u64>) -> u64 {
    let value = Ref::get_mut(&mut object).unwrap();
    let before = *object;
    *value += 1;
    before
}

fn parts(mut text: Ref<Tail<u64, u8>>) {
    let (head, items) = text.parts_mut().unwrap();
    let (other, _) = text.parts_mut().unwrap();
    *head += 1;
    *other += u64::from(items[0]);
}

fn assigned(object: Ref<u64>) {
    *object = 1;
}

fn main() {}
