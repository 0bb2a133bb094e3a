//! What is attached to objects, as far as the queue and the search for garbage cycles have to know of it.

use core::ptr::NonNull;

use crate::aside::aside;
use crate::deferred::attached::Attachment;
use crate::deferred::list::Full;
use crate::deferred::object::Object;

use super::{Pending, header};

impl Pending {
    /// Attaches an object to another one, its host, which takes over a counted reference to it.
    ///
    /// # Panics
    /// If `host` is itself an attachment, or nothing was [prepared](crate::deferred::attached::Attachments::prepare).
    ///
    /// # Safety
    /// 1. Both are alive, of this queue; the caller gives up a reference to `attachment`, which is one, attached to nothing.
    /// 2. The host has none of its kind.
    pub(crate) unsafe fn attach(&self, host: NonNull<Object>, attachment: NonNull<Object>) {
        // SAFETY: alive (1). It is about to have a slot more.
        unsafe { self.cycles.change(host) };
        // Its type may be one that was not followed, as it leads nowhere by itself.
        self.cycles.ledger().make_void();
        // SAFETY: alive (1).
        let (leads_on, header) = (unsafe { header(attachment) }.word().is_cyclic(), unsafe { header(host) });
        if leads_on && !header.word().is_cyclic() {
            // Its type is not in cycles by itself.
            header.set_word(header.word().armed());
        }
        // SAFETY: handed on (1, 2).
        unsafe { self.attachments.attach(host, attachment) }
    }

    /// Takes the attachment of one kind off a host. The caller owns the reference to it.
    ///
    /// # Safety
    /// 1. `host` is alive and of this queue.
    pub(crate) unsafe fn detach(&self, host: NonNull<Object>, kind: Attachment) -> Option<NonNull<Object>> {
        // SAFETY: alive (1). It has a slot less.
        unsafe { self.cycles.change(host) };
        // SAFETY: not queued, as it is alive (1).
        let taken = unsafe { self.attachments.take(host, &[kind]) };
        taken[kind as usize]
    }

    /// Takes all attachments off an object that has become garbage: its weak references refer to nothing from now on. Returns the finalizer,
    /// with its reference.
    ///
    /// # Safety
    /// 1. `host` is of this queue and has not been queued.
    pub(in crate::deferred) unsafe fn part(&self, host: NonNull<Object>) -> Option<NonNull<Object>> {
        const ALL: [Attachment; 3] = [Attachment::Weak, Attachment::Key, Attachment::Finalizer];
        // SAFETY: handed on (1).
        let [weak, key, finalizer] = unsafe { self.attachments.take(host, &ALL) };
        for attachment in [weak, key].into_iter().flatten() {
            // SAFETY: the host's own reference, which is ours now; of this queue as the host is.
            unsafe { self.release(attachment) }
        }
        finalizer
    }

    /// Parts an object that was found to be garbage from its attachments. Its finalizer, if it has one, keeps it, and is due when
    /// [all are found](crate::deferred::attached::Attachments::all_found).
    ///
    /// # Safety
    /// 1. As for [`part`](Pending::part); `host` is alive.
    pub(in crate::deferred) unsafe fn spare(&self, host: NonNull<Object>) {
        // SAFETY: handed on (1).
        let Some(finalizer) = (unsafe { self.part(host) }) else { return };
        // SAFETY: alive (1).
        unsafe { header(host) }.retain();
        // SAFETY: just taken, with a reference to each.
        unsafe { self.attachments.find(finalizer, host) };
    }

    /// Makes finalizers due, at most so many, whose objects are garbage whatever their counts say.
    ///
    /// # Errors
    /// No memory to list them. Then none is.
    ///
    /// # Safety
    /// 1. All objects of this queue are garbage: nothing refers to any of them but others of them, and what nobody uses again.
    pub(crate) unsafe fn all_are_garbage(&self, most: u64) -> Result<(), Full> {
        let hosts = aside(|| self.attachments.finalizable(most))?;
        self.cycles.doubt();
        for host in hosts {
            // SAFETY: HOSTS: alive, not queued; of this queue.
            unsafe { self.spare(host) };
        }
        self.attachments.all_found();
        Ok(())
    }
}
