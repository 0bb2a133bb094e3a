//! The layers, from the engine's own calls up to objects.

use std::str::FromStr;

/// Bytes asked of the allocator, headers included.
pub(crate) const SIZES: [usize; 4] = [16, 64, 256, 1024];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Layer {
    /// Nothing at all: what the loop takes, and is subtracted from the others.
    Loop,
    /// `mi_malloc` and `mi_free`.
    Engine,
    /// `mi_theap_malloc` and `mi_free`; on version 2 `mi_heap_malloc`.
    Theap,
    /// `Mutator::allocate` and `deallocate`.
    Block,
    /// `Mutator::alloc` of an object without slots, and the drop of its only `Ref`.
    Leaf,
    /// The same with one slot, which is empty.
    Slot,
    /// As `Slot`, of a type that is marked acyclic.
    SlotAcyclic,
    /// As `Slot`, and a second reference is taken and given up, which makes the object a candidate for garbage cycles.
    Shared,
    /// As `Shared`, of a type that is marked acyclic.
    SharedAcyclic,
    /// `HeapRef::allocate` and `deallocate`.
    #[cfg(feature = "allocator_api2")]
    Handle,
    /// `ChargingAlloc` through `GlobalAlloc`.
    Charging,
    /// As `Leaf`, with a handler on every beat.
    EveryBeat,
    /// As `Leaf`, with a handler on every thousandth beat.
    EveryThousand,
    /// As `Leaf`, with a deadline far away.
    Deadline,
    /// As `Leaf`, with a limit on the bytes in use that is far away.
    Limit,
    /// As `Leaf`, and a poll once a pair.
    Polled,
    /// As `Polled`, with that deadline, and fuel that lasts.
    PolledLimits,
    /// No allocation: one reading of a `Watch`.
    Reading,
}

impl Layer {
    /// What each is called on the command line and in the table.
    const NAMES: &[(Layer, &str, &str)] = &[
        (Layer::Loop, "loop", "the loop"),
        (Layer::Engine, "engine", "mi_malloc, mi_free"),
        (
            Layer::Theap,
            "theap",
            if cfg!(feature = "v2") { "mi_heap_malloc, mi_free" } else { "mi_theap_malloc, mi_free" },
        ),
        (Layer::Block, "block", "raw block: Mutator::allocate, deallocate"),
        (Layer::Leaf, "leaf", "Ref, leaf"),
        (Layer::Slot, "slot", "Ref, one empty slot"),
        (Layer::SlotAcyclic, "slot-acyclic", "Ref, one empty slot, acyclic"),
        (Layer::Shared, "shared", "Ref, one empty slot; a second one"),
        (Layer::SharedAcyclic, "shared-acyclic", "Ref, one empty slot, acyclic; a second one"),
        #[cfg(feature = "allocator_api2")]
        (Layer::Handle, "handle", "HeapRef"),
        (Layer::Charging, "charging", "ChargingAlloc"),
        (Layer::EveryBeat, "every-beat", "Ref, leaf; a handler on every beat"),
        (Layer::EveryThousand, "every-thousand", "Ref, leaf; a handler on every 1,000th beat"),
        (Layer::Deadline, "deadline", "Ref, leaf; a deadline set"),
        (Layer::Limit, "limit", "Ref, leaf; a limit set"),
        (Layer::Polled, "polled", "Ref, leaf; poll"),
        (Layer::PolledLimits, "polled-limits", "Ref, leaf; fuel and a deadline set, and poll"),
        (Layer::Reading, "reading", "no block: a reading, Watch::metrics"),
    ];

    /// Those that are shown.
    pub(crate) fn shown() -> impl Iterator<Item = Layer> {
        Layer::NAMES.iter().map(|(layer, ..)| *layer).filter(|layer| *layer != Layer::Loop)
    }

    fn names(self) -> (&'static str, &'static str) {
        let found = Layer::NAMES.iter().find(|(layer, ..)| *layer == self);
        let (_, word, name) = found.expect("every layer has names");
        (word, name)
    }

    pub(crate) fn word(self) -> &'static str {
        self.names().0
    }

    pub(crate) fn name(self) -> &'static str {
        self.names().1
    }
}

impl FromStr for Layer {
    type Err = String;

    fn from_str(text: &str) -> Result<Layer, String> {
        let found = Layer::NAMES.iter().find(|(_, word, _)| *word == text);
        found.map(|(layer, ..)| *layer).ok_or_else(|| format!("'{text}' is not a layer"))
    }
}
