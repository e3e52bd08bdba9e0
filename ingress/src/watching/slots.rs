//! The number of open event streams and long polls per user and process,
//! limited so that one user cannot use up the capacity.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use metrics::Gauge;
use uuid::Uuid;

type Taken = Arc<Mutex<HashMap<Uuid, usize>>>;

/// Hands out a number of slots per user. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WaitSlots {
    taken: Taken,
    per_user: usize,
}

/// One slot; free again when dropped.
#[derive(Debug)]
pub struct WaitSlot {
    user_id: Uuid,
    taken: Taken,
    open: Gauge,
}

/// The kinds of waiting requests.
#[derive(Debug, Clone, Copy)]
pub enum Waiter {
    /// An event stream.
    Stream,
    /// A long poll.
    Request,
}

impl Waiter {
    fn gauge(self) -> Gauge {
        match self {
            Self::Stream => metrics::gauge!("regimen_event_streams_open"),
            Self::Request => metrics::gauge!("regimen_held_requests_open"),
        }
    }
}

impl WaitSlots {
    /// This many slots per user.
    pub fn new(per_user: usize) -> Self {
        for waiter in [Waiter::Stream, Waiter::Request] {
            waiter.gauge().set(0);
        }
        Self { taken: Taken::default(), per_user }
    }

    /// A slot of `user_id`, if one is free.
    pub fn take(&self, user_id: Uuid, waiter: Waiter) -> Option<WaitSlot> {
        let mut taken = lock(&self.taken);
        let mine = taken.entry(user_id).or_default();
        if *mine >= self.per_user {
            return None;
        }
        *mine += 1;
        let open = waiter.gauge();
        open.increment(1);
        Some(WaitSlot { user_id, taken: Arc::clone(&self.taken), open })
    }

    /// How many slots are taken, by all users.
    pub fn taken(&self) -> usize {
        lock(&self.taken).values().sum()
    }

    /// The number of slots a user has.
    pub fn per_user(&self) -> usize {
        self.per_user
    }
}

impl Drop for WaitSlot {
    fn drop(&mut self) {
        self.open.decrement(1);
        let mut taken = lock(&self.taken);
        if let Some(mine) = taken.get_mut(&self.user_id) {
            *mine -= 1;
            if *mine == 0 {
                taken.remove(&self.user_id);
            }
        }
    }
}

fn lock(taken: &Taken) -> std::sync::MutexGuard<'_, HashMap<Uuid, usize>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_its_own_seats_and_gets_them_back() {
        let (slots, ada, ben) = (WaitSlots::new(2), Uuid::from_u128(1), Uuid::from_u128(2));
        let first = slots.take(ada, Waiter::Stream);
        let second = slots.take(ada, Waiter::Request);
        assert!(first.is_some() && second.is_some());
        assert!(slots.take(ada, Waiter::Stream).is_none());
        assert!(slots.take(ben, Waiter::Stream).is_some());
        drop(first);
        assert!(slots.take(ada, Waiter::Stream).is_some());
        drop(second);
        assert!(lock(&slots.taken).is_empty(), "nothing stays of users who left");
    }
}
