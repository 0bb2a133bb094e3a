//! The queue between finalizers and the machine.
//!
//! A finalizer of the runtime runs where the machine polls, in the midst of an instruction, and so cannot run Lox code. It queues a [`Job`],
//! which takes no memory, and the machine calls the job's function when it is between two instructions.
//!
//! The machine takes jobs by *turns*: all that are queued when one begins, one after the other. What these bring about is left for the next
//! turn, and between two of them the program runs on. So a finalizer that always makes more garbage with finalizers holds nothing up.

use std::cell::Cell;
use std::rc::Rc;

use mimalloc_runtime::{Ref, Trace};

use crate::object::{Instance, Job};

/// What the machine is ready for.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Door {
    /// To begin a turn.
    #[default]
    Open,
    /// To end the job that it runs.
    Shut,
    /// Nothing any more: the machine has gone.
    Locked,
}

/// The queue, as finalizers know it. First in, first out.
#[derive(Default)]
pub(crate) struct Queue {
    /// Both nothing, or neither.
    first: Cell<Option<Ref<Job>>>,
    last: Cell<Option<Ref<Job>>>,
    len: Cell<u64>,
    door: Cell<Door>,
    /// Whether the door is open and somebody waits: all that the interpreter loop looks at.
    due: Cell<bool>,
}

impl Queue {
    fn look(&self) {
        self.due.set(self.door.get() == Door::Open && self.len.get() > 0);
    }

    fn push(&self, job: Ref<Job>) {
        if self.door.get() == Door::Locked {
            return;
        }
        match self.last.replace(Some(job.clone())) {
            Some(last) => last.next.set(Some(job)),
            None => self.first.set(Some(job)),
        }
        self.len.set(self.len.get() + 1);
        self.look();
    }

    fn push_first(&self, job: Ref<Job>) {
        match self.first.take() {
            Some(first) => job.next.set(Some(first)),
            None => self.last.set(Some(job.clone())),
        }
        self.first.set(Some(job));
        self.len.set(self.len.get() + 1);
        self.look();
    }

    fn pop(&self) -> Option<Ref<Job>> {
        let first = self.first.take()?;
        match first.next.take() {
            Some(next) => self.first.set(Some(next)),
            None => drop(self.last.take()),
        }
        self.len.set(self.len.get() - 1);
        Some(first)
    }
}

/// The queue, as the machine owns it. When it goes, what is queued goes, and so does all that comes to be queued after that.
#[derive(Default)]
pub(crate) struct Jobs {
    queue: Rc<Queue>,
    /// How many of the current turn have not begun. Of no meaning while the door is open.
    turn: u64,
}

impl Jobs {
    /// More handles to what the queue itself has one each to.
    pub(crate) fn held(&self) -> Vec<Ref<Job>> {
        let peek = |held: &Cell<Option<Ref<Job>>>| {
            let job = held.take();
            held.set(job.clone());
            job
        };
        [&self.queue.first, &self.queue.last].into_iter().filter_map(peek).collect()
    }

    /// Whether a turn should begin.
    #[inline(always)]
    pub(crate) fn are_due(&self) -> bool {
        self.queue.due.get()
    }

    /// A turn begins, of all that are queued.
    pub(crate) fn begin_turn(&mut self) {
        self.turn = self.queue.len.get();
    }

    /// The next one of this turn, which is to be [finished](Jobs::finish) before another one.
    pub(crate) fn next(&mut self) -> Option<Ref<Job>> {
        self.turn = self.turn.checked_sub(1)?;
        let job = self.queue.pop()?;
        self.queue.door.set(Door::Shut);
        self.queue.look();
        Some(job)
    }

    /// The one that [`next`](Jobs::next) has given has not begun after all: it is the first again.
    pub(crate) fn put_back(&mut self, job: Ref<Job>) {
        self.queue.push_first(job);
    }

    /// A job has ended, in whatever way.
    pub(crate) fn finish(&mut self) {
        self.queue.door.set(Door::Open);
        self.queue.look();
    }

    /// What a finalizer is given so that it can queue the job.
    pub(crate) fn ticket(&self, job: Ref<Job>) -> Ticket {
        Ticket { job, queue: Rc::clone(&self.queue) }
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.queue.door.set(Door::Locked);
        self.queue.look();
        // One after the other, without recursion, is how the runtime frees what hangs on the first.
        drop((self.queue.first.take(), self.queue.last.take()));
    }
}

/// A job with the queue that it goes to.
#[derive(Trace)]
pub(crate) struct Ticket {
    job: Ref<Job>,
    /// What is in there is held by the machine, as what stands on its stack is.
    #[trace(skip)]
    queue: Rc<Queue>,
}

impl Ticket {
    /// The finalizer of an instance.
    pub(crate) fn queue(_: &Instance, ticket: Ticket, _: &mimalloc_runtime::Mutator) {
        ticket.queue.push(ticket.job);
    }
}
