//! Attachments: objects that belong to another one, their *host*, without lying in it.
//!
//! Three kinds of thing are to be told of an object's death, and cost nothing to objects that have none: its weak references, what is
//! kept alive by it as a key, and its finalizer. Each is an object of its own, an *attachment*, of which the host owns one counted
//! reference. That the host has any, one bit of its header says ([`Word::hosts`](super::object::Word::hosts)); which, this table. To a
//! search for garbage cycles attachments are slots of the host.
//!
//! The table is hashed by the host's address, and grows and shrinks a bucket at a time (W. Litwin, *Linear Hashing: A New Tool for File and
//! Table Addressing*, VLDB 1980), so that no operation has more to do because there are many: buckets lie in segments that
//! never move, each as large as all before it, and those of a bucket are linked through the attachments themselves.

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;
use std::alloc::{alloc, dealloc};

use crate::aside::aside;
use crate::linear;

use super::candidates::spread;
use super::list::Full;
use super::object::Object;
use super::pending::header;

/// What an attachment is for. A host has at most one of each kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Attachment {
    /// Weak references refer to it in place of the host.
    Weak = 0,
    /// Holds what the host keeps alive as a key.
    Key = 1,
    /// What is to be called when the host has become garbage.
    Finalizer = 2,
}

/// How many kinds there are.
const KINDS: usize = 3;

/// The attachments of a host by kind.
pub(crate) type Attached = [Option<NonNull<Object>>; KINDS];

/// What the value of every attachment begins with, right behind the header.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// The host; none when it has died.
    host: Cell<Option<NonNull<Object>>>,
    /// The next in the bucket or queue.
    next: Cell<Option<NonNull<Object>>>,
}

impl Link {
    /// Of an attachment.
    ///
    /// # Safety
    /// 1. `attachment` is an object of a type with [`TypeInfo::attachment`](super::TypeInfo), and is not freed before the last use of the result.
    #[inline(always)]
    pub(crate) unsafe fn of<'a>(attachment: NonNull<Object>) -> &'a Link {
        // SAFETY: within the object (1).
        let link = unsafe { attachment.add(1) }.cast::<Link>();
        // SAFETY: such a value begins with one, aligned as a header is (1).
        unsafe { link.as_ref() }
    }

    #[inline(always)]
    pub(crate) fn host(&self) -> Option<NonNull<Object>> {
        self.host.get()
    }
}

const _: () = assert!(align_of::<Link>() == align_of::<Object>() && size_of::<Object>() % align_of::<Link>() == 0);

type Bucket = Cell<Option<NonNull<Object>>>;

/// Buckets of the first segment.
const FIRST: usize = 64;

/// As many as there can be: each doubles the number of buckets.
const SEGMENTS: usize = 40;

/// The attachments of a mutator's objects, and the finalizers that are due.
///
/// Invariant HOSTS: an object has the bit exactly if an attachment of it is in the table. Every attachment in the table is alive, of its
/// host's mutator, and its link names the host, which owns one counted reference to it; and so does one in a queue, which owns that reference and
/// one to the host. A host's death takes its attachments out before it is queued. So nothing here outlives what it points to.
#[derive(Debug)]
pub(crate) struct Attachments {
    segments: [Cell<Option<NonNull<Bucket>>>; SEGMENTS],
    /// How many buckets are in use: 0, or at least [`FIRST`]. Those are initialised.
    buckets: Cell<usize>,
    len: Cell<usize>,
    /// How many of them are finalizers.
    finalizers: Cell<u64>,
    due: Queue,
    /// Of a trial that has not found all of its own yet.
    found: Queue,
    tell: TellDue,
}

/// Tells the owner of an object that the object's finalizer is due.
pub(crate) type TellDue = unsafe fn(NonNull<Object>);

/// Finalizers of which nobody else refers to the host, or only such as wait as well. First in, first out.
#[derive(Debug, Default)]
struct Queue {
    first: Cell<Option<NonNull<Object>>>,
    last: Cell<Option<NonNull<Object>>>,
    len: Cell<u64>,
}

impl Queue {
    /// # Safety
    /// 1. `finalizer` is an attachment, in no table and no queue.
    unsafe fn push(&self, finalizer: NonNull<Object>) {
        // SAFETY: handed on (1).
        unsafe { Link::of(finalizer) }.next.set(None);
        match self.last.replace(Some(finalizer)) {
            None => self.first.set(Some(finalizer)),
            // SAFETY: HOSTS.
            Some(last) => unsafe { Link::of(last) }.next.set(Some(finalizer)),
        }
        self.len.set(self.len.get() + 1);
    }

    fn pop(&self) -> Option<NonNull<Object>> {
        let finalizer = self.first.get()?;
        // SAFETY: HOSTS.
        self.first.set(unsafe { Link::of(finalizer) }.next.take());
        if self.first.get().is_none() {
            self.last.set(None);
        }
        self.len.set(self.len.get() - 1);
        Some(finalizer)
    }

    /// Puts all of another behind these.
    fn append(&self, other: &Queue) {
        let Some(first) = other.first.take() else { return };
        match self.last.replace(other.last.take()) {
            None => self.first.set(Some(first)),
            // SAFETY: HOSTS.
            Some(last) => unsafe { Link::of(last) }.next.set(Some(first)),
        }
        self.len.set(self.len.get() + other.len.take());
    }
}

fn hash(host: NonNull<Object>) -> usize {
    (spread(host.addr().get()) >> 32) as usize
}

/// The kind of an attachment.
///
/// # Safety
/// 1. `attachment` is an attachment that has not been freed.
unsafe fn kind(attachment: NonNull<Object>) -> Attachment {
    // SAFETY: not freed (1).
    let kind = unsafe { header(attachment) }.info().attachment;
    kind.expect("only attachments are linked")
}

/// The segment of a bucket, and its place in that.
fn place(bucket: usize) -> (usize, usize) {
    match bucket / FIRST {
        0 => (0, bucket),
        part => (part.ilog2() as usize + 1, bucket - (FIRST << part.ilog2())),
    }
}

fn layout(segment: usize) -> Option<Layout> {
    Layout::array::<Bucket>(FIRST << segment.saturating_sub(1)).ok()
}

impl Attachments {
    pub(super) fn new(tell: TellDue) -> Attachments {
        Attachments {
            segments: [const { Cell::new(None) }; SEGMENTS],
            buckets: Cell::new(0),
            len: Cell::new(0),
            finalizers: Cell::new(0),
            due: Queue::default(),
            found: Queue::default(),
            tell,
        }
    }

    // ---- the table ----

    /// The bucket of this number, which is in use or about to be.
    fn bucket(&self, bucket: usize) -> NonNull<Bucket> {
        let (segment, place) = place(bucket);
        let first = self.segments[segment].get().expect("a bucket in use has a segment");
        // SAFETY: within the segment.
        unsafe { first.add(place) }
    }

    /// The chain that this hash is in. There are buckets.
    fn chain(&self, hash: usize) -> &Bucket {
        let bucket = linear::bucket(hash, self.buckets.get());
        // SAFETY: in use, so initialised; segments do not move, and go only when no bucket of them is in use.
        unsafe { self.bucket(bucket).as_ref() }
    }

    /// Uses one bucket more: it gets its part of what is in the one that served for both.
    fn grow(&self) -> Result<(), Full> {
        let new = self.buckets.get();
        let count = if new == 0 { FIRST } else { 1 };
        let (segment, in_segment) = place(new);
        if in_segment == 0 && self.segments.get(segment).ok_or(Full)?.get().is_none() {
            let layout = layout(segment).ok_or(Full)?;
            // SAFETY: not of no size.
            let memory = NonNull::new(aside(|| unsafe { alloc(layout) })).ok_or(Full)?;
            self.segments[segment].set(Some(memory.cast()));
        }
        for bucket in new..new + count {
            // SAFETY: within the segment, not yet in use.
            unsafe { self.bucket(bucket).write(Cell::new(None)) };
        }
        if new > 0 {
            // SAFETY: just initialised.
            let new_chain = unsafe { self.bucket(new).as_ref() };
            // SAFETY: in use.
            let mut link = unsafe { self.bucket(linear::parent(new)).as_ref() };
            while let Some(attachment) = link.get() {
                // SAFETY: HOSTS.
                let this = unsafe { Link::of(attachment) };
                let host = this.host.get().expect("in the table it has a host");
                if linear::bucket(hash(host), new + 1) == new {
                    link.set(this.next.get());
                    this.next.set(new_chain.replace(Some(attachment)));
                } else {
                    link = &this.next;
                }
            }
        }
        self.buckets.set(new + count);
        Ok(())
    }

    /// Uses one bucket less, if there are more than enough.
    fn shrink(&self) {
        let last = self.buckets.get() - 1;
        if last < FIRST || self.len.get() >= last / 4 {
            return;
        }
        // SAFETY: in use.
        let old = unsafe { self.bucket(last).as_ref() };
        // SAFETY: in use.
        let mut link = unsafe { self.bucket(linear::parent(last)).as_ref() };
        while let Some(attachment) = link.get() {
            // SAFETY: HOSTS.
            link = &unsafe { Link::of(attachment) }.next;
        }
        link.set(old.take());
        self.buckets.set(last);
        let (segment, in_segment) = place(last);
        if in_segment == 0 {
            self.free(segment);
        }
    }

    fn free(&self, segment: usize) {
        if let (Some(memory), Some(layout)) = (self.segments[segment].take(), layout(segment)) {
            // SAFETY: from `grow`, with this layout; none of its buckets is in use.
            aside(|| unsafe { dealloc(memory.as_ptr().cast(), layout) });
        }
    }

    /// Makes the first buckets. From then on attaching needs no memory: without more of it, chains are longer.
    ///
    /// # Errors
    /// There is none for them.
    pub(crate) fn prepare(&self) -> Result<(), Full> {
        if self.buckets.get() == 0 { self.grow() } else { Ok(()) }
    }

    /// Attaches an object to its host, which takes over a counted reference to it.
    ///
    /// # Panics
    /// If `host` is itself an attachment, or nothing was [prepared](Attachments::prepare).
    ///
    /// # Safety
    /// 1. Both are alive, of this mutator; the caller gives up a reference to `attachment`, which is one, in no table.
    /// 2. The host has none of its kind.
    pub(super) unsafe fn attach(&self, host: NonNull<Object>, attachment: NonNull<Object>) {
        // SAFETY: alive (1).
        let host_header = unsafe { header(host) };
        // It would die in the death of its host, and so on.
        assert!(host_header.info().attachment.is_none(), "an attachment cannot have attachments of its own");
        if self.len.get() >= self.buckets.get() {
            _ = self.grow();
        }
        // SAFETY: an attachment (1).
        let link = unsafe { Link::of(attachment) };
        link.host.set(Some(host));
        link.next.set(self.chain(hash(host)).replace(Some(attachment)));
        self.len.set(self.len.get() + 1);
        // SAFETY: an attachment (1).
        if unsafe { kind(attachment) } == Attachment::Finalizer {
            self.finalizers.set(self.finalizers.get() + 1);
        }
        host_header.set_word(host_header.word().hosting());
    }

    /// The attachments of an object, by kind.
    ///
    /// # Safety
    /// 1. `host` is an object of this mutator whose memory has not been freed.
    pub(crate) unsafe fn of(&self, host: NonNull<Object>) -> Attached {
        let mut all = [None; KINDS];
        // SAFETY: not freed (1).
        if !unsafe { header(host) }.word().hosts() {
            return all;
        }
        let mut link = self.chain(hash(host));
        while let Some(attachment) = link.get() {
            // SAFETY: HOSTS.
            let this = unsafe { Link::of(attachment) };
            if this.host.get() == Some(host) {
                // SAFETY: HOSTS.
                all[unsafe { kind(attachment) } as usize] = Some(attachment);
            }
            link = &this.next;
        }
        all
    }

    /// Takes attachments of these kinds off their host, of which they name none from then on. The caller owns a counted reference to each.
    ///
    /// # Safety
    /// 1. `host` is an object of this mutator that has not been queued.
    pub(super) unsafe fn take(&self, host: NonNull<Object>, kinds: &[Attachment]) -> Attached {
        let mut taken = [None; KINDS];
        // SAFETY: not freed (1).
        let header = unsafe { header(host) };
        if !header.word().hosts() {
            return taken;
        }
        let mut remain = false;
        let mut link = self.chain(hash(host));
        while let Some(attachment) = link.get() {
            // SAFETY: HOSTS.
            let this = unsafe { Link::of(attachment) };
            // SAFETY: HOSTS.
            let kind = unsafe { kind(attachment) };
            if this.host.get() != Some(host) {
                link = &this.next;
            } else if !kinds.contains(&kind) {
                remain = true;
                link = &this.next;
            } else {
                link.set(this.next.take());
                this.host.set(None);
                taken[kind as usize] = Some(attachment);
                self.len.set(self.len.get() - 1);
            }
        }
        if taken[Attachment::Finalizer as usize].is_some() {
            self.finalizers.set(self.finalizers.get() - 1);
        }
        if !remain {
            header.set_word(header.word().not_hosting(header.info().flags));
        }
        // As many as may be too many for each that has gone.
        for _ in 0..4 {
            self.shrink();
        }
        taken
    }

    // ---- finalizers ----

    /// How many finalizers there are of objects that are not known to be garbage.
    pub(crate) fn finalizers(&self) -> u64 {
        self.finalizers.get()
    }

    /// Calls `visit` with each finalizer that is due, and with its host: all that the queues have a reference to.
    pub(crate) fn each_due(&self, mut visit: impl FnMut(NonNull<Object>)) {
        for queue in [&self.due, &self.found] {
            let mut at = queue.first.get();
            while let Some(finalizer) = at {
                // SAFETY: HOSTS.
                let link = unsafe { Link::of(finalizer) };
                visit(finalizer);
                link.host.get().into_iter().for_each(&mut visit);
                at = link.next.get();
            }
        }
    }

    /// The hosts of at most so many finalizers that are not due.
    pub(super) fn finalizable(&self, most: u64) -> Result<Vec<NonNull<Object>>, Full> {
        let mut hosts = Vec::new();
        let most = usize::try_from(most.min(self.finalizers.get())).map_err(|_| Full)?;
        hosts.try_reserve_exact(most).map_err(|_| Full)?;
        for bucket in 0..self.buckets.get() {
            // SAFETY: in use.
            let mut link = unsafe { self.bucket(bucket).as_ref() };
            while let Some(attachment) = link.get() {
                // SAFETY: HOSTS.
                let this = unsafe { Link::of(attachment) };
                // SAFETY: HOSTS.
                if unsafe { kind(attachment) } == Attachment::Finalizer && hosts.len() < most {
                    hosts.extend(this.host.get());
                }
                link = &this.next;
            }
        }
        Ok(hosts)
    }

    /// All objects have gone, and what was attached to them.
    pub(super) fn all_gone(&self) {
        self.buckets.set(0);
        self.len.set(0);
        self.finalizers.set(0);
        for queue in [&self.due, &self.found] {
            queue.first.set(None);
            queue.last.set(None);
            queue.len.set(0);
        }
    }

    /// How many there are that have not run.
    pub(crate) fn finalizers_in_all(&self) -> u64 {
        self.finalizers.get() + self.due.len.get() + self.found.len.get()
    }

    /// How many are due.
    pub(crate) fn due(&self) -> u64 {
        self.due.len.get()
    }

    /// The next finalizer that is due, and its host. The caller owns a counted reference to each.
    pub(crate) fn next_due(&self) -> Option<(NonNull<Object>, NonNull<Object>)> {
        let finalizer = self.due.pop()?;
        // SAFETY: HOSTS.
        let host = unsafe { Link::of(finalizer) }.host.take();
        Some((finalizer, host.expect("one that is queued has its host")))
    }

    /// Queues a finalizer.
    ///
    /// # Safety
    /// 1. `finalizer` was [taken](Attachments::take) from `host`; the caller gives up a reference to each.
    pub(super) unsafe fn queue(&self, finalizer: NonNull<Object>, host: NonNull<Object>) {
        // SAFETY: handed on (1).
        unsafe { self.wait_in(&self.due, finalizer, host) };
        // SAFETY: alive, by the reference that is the queue's.
        unsafe { (self.tell)(host) }
    }

    /// Queues a finalizer of a trial: it is due when [all are](Attachments::all_found).
    ///
    /// # Safety
    /// 1. As for [`queue`](Attachments::queue).
    pub(super) unsafe fn find(&self, finalizer: NonNull<Object>, host: NonNull<Object>) {
        // SAFETY: handed on (1).
        unsafe { self.wait_in(&self.found, finalizer, host) }
    }

    /// # Safety
    /// 1. As for [`queue`](Attachments::queue).
    unsafe fn wait_in(&self, queue: &Queue, finalizer: NonNull<Object>, host: NonNull<Object>) {
        // SAFETY: an attachment, alive (1).
        unsafe { Link::of(finalizer) }.host.set(Some(host));
        // SAFETY: taken from the table (1).
        unsafe { queue.push(finalizer) }
    }

    /// All finalizers of a trial are queued.
    pub(super) fn all_found(&self) {
        // SAFETY: HOSTS.
        let host = self.found.first.get().and_then(|finalizer| unsafe { Link::of(finalizer) }.host.get());
        self.due.append(&self.found);
        // SAFETY: alive, by the reference that is the queue's.
        host.into_iter().for_each(|host| unsafe { (self.tell)(host) });
    }
}

impl Drop for Attachments {
    fn drop(&mut self) {
        self.buckets.set(0);
        for segment in 0..SEGMENTS {
            self.free(segment);
        }
    }
}
