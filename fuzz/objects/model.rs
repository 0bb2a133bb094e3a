//! What must be true: counts and edges, kept in the plainest way.

/// An object as the model knows it. It is known by its number, which it also carries.
#[derive(Clone)]
pub(super) struct Known {
    /// The mutator that it was allocated by.
    pub(super) owner: usize,
    /// References, those of objects that have died not counted.
    pub(super) count: u32,
    pub(super) edges: Vec<Option<usize>>,
}

impl Known {
    pub(super) fn is_alive(&self) -> bool {
        self.count > 0
    }
}

#[derive(Clone, Default)]
pub(super) struct Model {
    pub(super) objects: Vec<Known>,
}

impl Model {
    /// A new object with one reference.
    pub(super) fn add(&mut self, owner: usize, slots: usize) -> usize {
        self.objects.push(Known { owner, count: 1, edges: vec![None; slots] });
        self.objects.len() - 1
    }

    /// The object that was added last was not made.
    pub(super) fn forget_last(&mut self) {
        self.objects.pop();
    }

    pub(super) fn retain(&mut self, id: usize) {
        assert!(self.objects[id].is_alive());
        self.objects[id].count += 1;
    }

    pub(super) fn release(&mut self, id: usize) {
        let mut given_up = vec![id];
        while let Some(id) = given_up.pop() {
            let known = &mut self.objects[id];
            assert!(known.is_alive());
            known.count -= 1;
            if known.count == 0 {
                given_up.extend(known.edges.iter_mut().filter_map(Option::take));
            }
        }
    }

    /// Puts a reference to `to`, which is taken here, into a slot.
    pub(super) fn set(&mut self, from: usize, slot: usize, to: Option<usize>) {
        if let Some(to) = to {
            self.retain(to);
        }
        if let Some(old) = std::mem::replace(&mut self.objects[from].edges[slot], to) {
            self.release(old);
        }
    }

    /// Takes the garbage cycles away that mutators can find: what neither `roots` nor objects of other mutators lead to.
    pub(super) fn collect(&mut self, roots: impl Iterator<Item = usize>) {
        let roots: Vec<usize> = roots.collect();
        loop {
            let mut in_use = vec![false; self.objects.len()];
            let mut todo = roots.clone();
            for known in &self.objects {
                todo.extend(known.edges.iter().flatten().filter(|to| self.objects[**to].owner != known.owner));
            }
            while let Some(id) = todo.pop() {
                if !std::mem::replace(&mut in_use[id], true) {
                    todo.extend(self.objects[id].edges.iter().flatten());
                }
            }
            let garbage: Vec<usize> =
                (0..self.objects.len()).filter(|id| self.objects[*id].is_alive() && !in_use[*id]).collect();
            if garbage.is_empty() {
                return;
            }
            // First the edges, so that a count that reaches zero is that of an object outside.
            let edges: Vec<usize> =
                garbage.iter().flat_map(|id| self.objects[*id].edges.split_off(0)).flatten().collect();
            for id in garbage {
                self.objects[id].count = 0;
            }
            for id in edges {
                if self.objects[id].is_alive() {
                    self.release(id);
                }
            }
        }
    }

    /// Objects of a mutator that are alive, and that have died.
    pub(super) fn counts(&self, owner: usize) -> (u64, u64) {
        let of_owner = || self.objects.iter().filter(|known| known.owner == owner);
        let alive = of_owner().filter(|known| known.is_alive()).count() as u64;
        (alive, of_owner().count() as u64 - alive)
    }
}
