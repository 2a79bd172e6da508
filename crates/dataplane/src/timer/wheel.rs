//! A hierarchical timing wheel: six levels of 64 slots, entries in one slab, slots as linked lists through it.
//!
//! Arming, cancelling and moving an entry are a few writes. A tick touches only what expires in it, and moves an entry to a
//! finer level at most five times in its life. Knows no clock and wakes nobody: it hands out wakers, because waking or
//! dropping one may run code that comes back to the wheel.

use std::task::Waker;

use super::tick::Tick;

const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const LEVELS: usize = 6;
const NONE: u32 = u32::MAX;

/// Names an entry; worthless once that entry has fired or was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    index: u32,
    generation: u32,
}

#[derive(Debug)]
struct Entry {
    due: u32,
    generation: u32,
    /// The list that it hangs in, `NONE` while free.
    list: u32,
    previous: u32,
    next: u32,
    waker: Option<Waker>,
}

/// The timers of one thread.
#[derive(Debug)]
pub(super) struct Wheel {
    /// Every entry that was due by then has been handed out.
    current: u32,
    entries: Vec<Entry>,
    free: u32,
    armed: usize,
    heads: [u32; LEVELS * SLOTS],
}

impl Wheel {
    pub(super) fn new() -> Self {
        Self { current: 0, entries: Vec::new(), free: NONE, armed: 0, heads: [NONE; LEVELS * SLOTS] }
    }

    /// How many timers wait.
    pub(super) fn armed(&self) -> usize {
        self.armed
    }

    /// Skips to `now` if nothing waits, so that a wheel that stood still does not turn through the time it missed.
    pub(super) fn skip_to(&mut self, now: Tick) {
        if self.armed == 0 {
            self.current = now.number();
        }
    }

    /// Arms a timer. What is due already comes with the next tick.
    pub(super) fn arm(&mut self, due: Tick, waker: Waker) -> Key {
        let due = due.number().max(self.current.saturating_add(1));
        let index = if self.free == NONE {
            let index = u32::try_from(self.entries.len()).expect("fewer than four billion timers on a thread");
            self.entries.push(Entry { due, generation: 0, list: NONE, previous: NONE, next: NONE, waker: None });
            index
        } else {
            let index = self.free;
            self.free = self.entries[index as usize].next;
            index
        };
        let entry = &mut self.entries[index as usize];
        entry.due = due;
        entry.waker = Some(waker);
        let generation = entry.generation;
        self.armed += 1;
        self.link(index);
        Key { index, generation }
    }

    /// Takes a timer out. The waker is for the caller to drop, outside of any borrow of the wheel.
    pub(super) fn cancel(&mut self, key: Key) -> Option<Waker> {
        self.live(key)?;
        self.unlink(key.index);
        self.release(key.index)
    }

    /// Moves a timer to another time; false if it has fired.
    pub(super) fn rearm(&mut self, key: Key, due: Tick) -> bool {
        if self.live(key).is_none() {
            return false;
        }
        self.unlink(key.index);
        self.entries[key.index as usize].due = due.number().max(self.current.saturating_add(1));
        self.link(key.index);
        true
    }

    /// The waker of a timer that has not fired.
    pub(super) fn waker(&mut self, key: Key) -> Option<&mut Waker> {
        self.live(key)?.waker.as_mut()
    }

    /// Turns to `now` and moves the wakers of everything due by then to `expired`.
    pub(super) fn advance(&mut self, now: Tick, expired: &mut Vec<Waker>) {
        while self.current < now.number() {
            if self.armed == 0 {
                self.current = now.number();
                return;
            }
            self.current += 1;
            for level in (1..LEVELS).rev() {
                let shift = BITS * level as u32;
                if self.current & ((1 << shift) - 1) == 0 {
                    let mut index = self.take(level * SLOTS + slot_at(self.current, level));
                    while index != NONE {
                        let next = self.entries[index as usize].next;
                        self.link(index);
                        index = next;
                    }
                }
            }
            let mut index = self.take(slot_at(self.current, 0));
            while index != NONE {
                let next = self.entries[index as usize].next;
                expired.extend(self.release(index));
                index = next;
            }
        }
    }

    fn live(&mut self, key: Key) -> Option<&mut Entry> {
        self.entries
            .get_mut(key.index as usize)
            .filter(|entry| entry.list != NONE && entry.generation == key.generation)
    }

    /// The level is that of the highest digit (base 64) in which the due tick and the present differ.
    fn link(&mut self, index: u32) {
        let due = self.entries[index as usize].due;
        let distance = due ^ self.current;
        let level = if distance == 0 { 0 } else { (distance.ilog2() / BITS) as usize };
        let list = level * SLOTS + slot_at(due, level);
        let head = std::mem::replace(&mut self.heads[list], index);
        if head != NONE {
            self.entries[head as usize].previous = index;
        }
        let entry = &mut self.entries[index as usize];
        entry.list = list as u32;
        entry.previous = NONE;
        entry.next = head;
    }

    fn unlink(&mut self, index: u32) {
        let Entry { list, previous, next, .. } = self.entries[index as usize];
        if previous == NONE {
            self.heads[list as usize] = next;
        } else {
            self.entries[previous as usize].next = next;
        }
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
    }

    fn take(&mut self, list: usize) -> u32 {
        std::mem::replace(&mut self.heads[list], NONE)
    }

    fn release(&mut self, index: u32) -> Option<Waker> {
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.list = NONE;
        entry.next = self.free;
        self.free = index;
        self.armed -= 1;
        entry.waker.take()
    }
}

fn slot_at(tick: u32, level: usize) -> usize {
    (tick >> (BITS * level as u32)) as usize & (SLOTS - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Arm(u32),
        Cancel(usize),
        Rearm(usize, u32),
        Advance(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        let far = prop_oneof![0..70u32, 0..5_000u32, 0..400_000u32];
        prop_oneof![
            far.clone().prop_map(Step::Arm),
            any::<usize>().prop_map(Step::Cancel),
            (any::<usize>(), far).prop_map(|(which, due)| Step::Rearm(which, due)),
            prop_oneof![1..3u32, 1..200u32, 1..20_000u32].prop_map(Step::Advance),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn fires_what_a_sorted_list_would(start in 0..1_000_000u32, steps in prop::collection::vec(step(), 1..80)) {
            let mut wheel = Wheel::new();
            wheel.skip_to(Tick::from_number(start));
            let mut now = start;
            let mut model: BTreeMap<usize, (Key, u32, Arc<Count>)> = BTreeMap::new();
            let mut fired = Vec::new();
            for (id, step) in steps.into_iter().enumerate() {
                let pick = |which: usize| model.keys().nth(which % model.len().max(1)).copied();
                match step {
                    Step::Arm(wait) => {
                        let count = Arc::new(Count::default());
                        let key = wheel.arm(Tick::from_number(now + wait), Waker::from(Arc::clone(&count)));
                        model.insert(id, (key, (now + wait).max(now + 1), count));
                    }
                    Step::Cancel(which) => if let Some((key, _, _)) = pick(which).and_then(|id| model.remove(&id)) {
                        prop_assert!(wheel.cancel(key).is_some());
                        prop_assert!(wheel.cancel(key).is_none());
                    },
                    Step::Rearm(which, wait) => if let Some(id) = pick(which) {
                        let entry = model.get_mut(&id).unwrap();
                        entry.1 = (now + wait).max(now + 1);
                        prop_assert!(wheel.rearm(entry.0, Tick::from_number(now + wait)));
                    },
                    Step::Advance(by) => {
                        now += by;
                        wheel.advance(Tick::from_number(now), &mut fired);
                        fired.drain(..).for_each(Waker::wake);
                        let due: Vec<_> = model.iter().filter(|(_, entry)| entry.1 <= now).map(|(id, _)| *id).collect();
                        for id in due {
                            let (key, _, count) = model.remove(&id).unwrap();
                            prop_assert_eq!(count.0.load(Ordering::Relaxed), 1);
                            prop_assert!(!wheel.rearm(key, Tick::from_number(now + 5)));
                        }
                        prop_assert!(model.values().all(|(_, _, count)| count.0.load(Ordering::Relaxed) == 0));
                    }
                }
                prop_assert_eq!(wheel.armed(), model.len());
            }
        }
    }
}
