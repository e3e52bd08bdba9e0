//! The log and the counts of all calls and their outcomes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::Notify;

use crate::clock::millis;
use crate::provider::Provider;

use super::tally::{Outcome, Tally};

/// The highest number of counted seeds; the oldest are dropped.
const SEEDS: usize = 100_000;
/// The highest number of listed rejections.
const REJECTIONS: usize = 20;

/// A call when it arrives.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) provider: Provider,
    pub(crate) model: String,
    pub(crate) seed: Option<Arc<str>>,
    /// The markers in its body.
    pub(crate) markers: Vec<Arc<str>>,
    pub(crate) body: Bytes,
    /// When the request was complete, microseconds since the Unix epoch.
    pub(crate) at: u64,
}

/// A call in the log.
#[derive(Debug)]
struct Entry {
    arrival: Arrival,
    outcome: Option<Outcome>,
}

/// A request that was refused.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Rejection {
    pub(crate) provider: Provider,
    pub(crate) status: u16,
    pub(crate) message: String,
}

/// Counts and log of all calls.
#[derive(Debug)]
pub(crate) struct Ledger {
    books: Mutex<Books>,
    /// Notified after every change.
    changed: Notify,
    keep: usize,
}

#[derive(Debug, Default)]
struct Books {
    total: Tally,
    providers: BTreeMap<Provider, Tally>,
    models: BTreeMap<(Provider, String), Tally>,
    /// By marker and by seed.
    texts: HashMap<Arc<str>, Tally>,
    seeds: VecDeque<Arc<str>>,
    log: VecDeque<Entry>,
    /// The number of the first entry of the log.
    first: u64,
    rejections: VecDeque<Rejection>,
    without_targets: u64,
    unreadable_targets: VecDeque<String>,
}

/// All counts.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    #[serde(flatten)]
    pub(crate) total: Tally,
    pub(crate) providers: BTreeMap<Provider, ProviderView>,
    /// Requested markers; seeds are listed one at a time.
    pub(crate) markers: BTreeMap<String, Tally>,
    pub(crate) rejections: Vec<Rejection>,
    pub(crate) prompts_without_targets: u64,
    pub(crate) unreadable_targets: Vec<String>,
}

/// Counts of a provider and its models.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ProviderView {
    #[serde(flatten)]
    tally: Tally,
    models: BTreeMap<String, Tally>,
}

/// A logged call in the control API.
#[derive(Debug, Serialize)]
pub(crate) struct CallView {
    id: u64,
    provider: Provider,
    model: String,
    seed: Option<String>,
    arrived_ms: f64,
    /// `open` until it is finished.
    outcome: &'static str,
    status: u16,
    body: String,
}

/// Selects calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) provider: Option<Provider>,
    pub(crate) model: Option<String>,
    pub(crate) marker: Option<Arc<str>>,
}

impl Ledger {
    /// An empty ledger that keeps the bodies of the latest `keep` calls.
    pub(crate) fn new(keep: usize) -> Self {
        Self { books: Mutex::default(), changed: Notify::new(), keep }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // The counts stay usable after a panic.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records an arrival; returns the call's number, and its number among the calls of
    /// its seed (of all calls if it has none), from 1.
    pub(crate) fn arrive(&self, arrival: Arrival) -> (u64, u64) {
        let mut books = self.books();
        books.each_tally(&arrival, |tally| tally.arrive(arrival.at));
        let ordinal = match &arrival.seed {
            Some(seed) => books.texts.get(seed).map_or(1, |tally| tally.calls),
            None => books.total.calls,
        };
        if let Some(seed) = &arrival.seed
            && ordinal == 1
        {
            books.remember_seed(Arc::clone(seed));
        }
        let id = books.first + books.log.len() as u64;
        books.log.push_back(Entry { arrival, outcome: None });
        // An open call stays in the log, so that its end is counted in the same place.
        while books.log.len() > self.keep && books.log.front().is_some_and(|e| e.outcome.is_some())
        {
            books.log.pop_front();
            books.first += 1;
        }
        drop(books);
        self.changed.notify_waiters();
        (id, ordinal)
    }

    /// Records the end of call `id`; only the first end counts.
    pub(crate) fn finish(&self, id: u64, outcome: Outcome) {
        let mut books = self.books();
        let place = id.checked_sub(books.first).and_then(|place| usize::try_from(place).ok());
        let entry = place.and_then(|place| books.log.get_mut(place));
        let Some(entry) = entry.filter(|entry| entry.outcome.is_none()) else { return };
        entry.outcome = Some(outcome);
        let arrival = entry.arrival.clone();
        books.each_tally(&arrival, |tally| tally.finish(outcome));
        drop(books);
        self.changed.notify_waiters();
    }

    /// Records why a request was refused.
    pub(crate) fn reject(&self, rejection: Rejection) {
        keep_newest(&mut self.books().rejections, rejection);
    }

    /// Records a prompt without targets, or with unreadable ones.
    pub(crate) fn no_targets(&self, unreadable: Option<String>) {
        let mut books = self.books();
        match unreadable {
            None => books.without_targets += 1,
            Some(reason) => keep_newest(&mut books.unreadable_targets, reason),
        }
    }

    /// Starts to count calls by `marker`, including the logged ones.
    pub(crate) fn count_by(&self, marker: &Arc<str>) {
        let mut books = self.books();
        let mut tally = books.texts.remove(marker).unwrap_or_default();
        for entry in &mut books.log {
            let known = entry.arrival.knows(marker);
            if !known && contains(&entry.arrival.body, marker.as_bytes()) {
                tally.arrive(entry.arrival.at);
                entry.outcome.into_iter().for_each(|outcome| tally.finish(outcome));
                entry.arrival.markers.push(Arc::clone(marker));
            }
        }
        books.texts.insert(Arc::clone(marker), tally);
    }

    /// Whether calls are counted by `text`: as a marker, or as the seed of a call.
    pub(crate) fn counts_by(&self, text: &str) -> bool {
        self.books().texts.contains_key(text)
    }

    /// The counts of the calls that `filter` selects; `None` if it has both a marker and
    /// a provider, which are not counted together.
    pub(crate) fn tally(&self, filter: &Filter) -> Tally {
        let books = self.books();
        let found = match (&filter.marker, filter.provider, &filter.model) {
            (None, None, None) => Some(&books.total),
            (Some(marker), None, None) => books.texts.get(marker),
            (None, Some(provider), None) => books.providers.get(&provider),
            (None, Some(provider), Some(model)) => books.models.get(&(provider, model.clone())),
            _ => return books.count_log(filter),
        };
        found.cloned().unwrap_or_default()
    }

    /// Everything but the log.
    pub(crate) fn view(&self, markers: &[Arc<str>]) -> View {
        let books = self.books();
        let mut providers: BTreeMap<Provider, ProviderView> = BTreeMap::new();
        for (provider, tally) in &books.providers {
            providers.entry(*provider).or_default().tally = tally.clone();
        }
        for ((provider, model), tally) in &books.models {
            providers.entry(*provider).or_default().models.insert(model.clone(), tally.clone());
        }
        let texts = markers.iter().filter_map(|name| {
            books.texts.get(name).map(|tally| (name.to_string(), tally.clone()))
        });
        View {
            total: books.total.clone(),
            providers,
            markers: texts.collect(),
            rejections: books.rejections.iter().cloned().collect(),
            prompts_without_targets: books.without_targets,
            unreadable_targets: books.unreadable_targets.iter().cloned().collect(),
        }
    }

    /// The latest logged calls that `filter` selects, newest first.
    pub(crate) fn calls(&self, filter: &Filter, limit: usize) -> Vec<CallView> {
        let books = self.books();
        let numbered = books.log.iter().enumerate().rev();
        let meant = numbered.filter(|(_, entry)| filter.means(&entry.arrival)).take(limit);
        meant.map(|(place, entry)| entry.view(books.first + place as u64)).collect()
    }

    /// Clears everything. Calls open now are not counted when they end.
    pub(crate) fn clear(&self) {
        let mut books = self.books();
        let first = books.first + books.log.len() as u64;
        *books = Books { first, ..Books::default() };
        drop(books);
        self.changed.notify_waiters();
    }

    /// Waits for the next change. Must be created before the counts are read.
    pub(crate) fn change(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }
}

impl Books {
    /// Every tally the call belongs to, each once.
    fn each_tally(&mut self, arrival: &Arrival, mut update: impl FnMut(&mut Tally)) {
        update(&mut self.total);
        update(self.providers.entry(arrival.provider).or_default());
        update(self.models.entry((arrival.provider, arrival.model.clone())).or_default());
        let seed = arrival.seed.iter().filter(|seed| !arrival.markers.contains(seed));
        for text in arrival.markers.iter().chain(seed) {
            match self.texts.get_mut(text) {
                Some(tally) => update(tally),
                None => update(self.texts.entry(Arc::clone(text)).or_default()),
            }
        }
    }

    fn remember_seed(&mut self, seed: Arc<str>) {
        self.seeds.push_back(seed);
        if self.seeds.len() > SEEDS
            && let Some(oldest) = self.seeds.pop_front()
        {
            self.texts.remove(&oldest);
        }
    }

    fn count_log(&self, filter: &Filter) -> Tally {
        let mut tally = Tally::default();
        for entry in self.log.iter().filter(|entry| filter.means(&entry.arrival)) {
            tally.arrive(entry.arrival.at);
            entry.outcome.into_iter().for_each(|outcome| tally.finish(outcome));
        }
        tally
    }
}

impl Arrival {
    /// Whether the call is already counted under `text`.
    fn knows(&self, text: &Arc<str>) -> bool {
        self.seed.as_ref() == Some(text) || self.markers.contains(text)
    }
}

impl Filter {
    fn means(&self, arrival: &Arrival) -> bool {
        self.provider.is_none_or(|provider| provider == arrival.provider)
            && self.model.as_ref().is_none_or(|model| *model == arrival.model)
            && self.marker.as_ref().is_none_or(|marker| arrival.knows(marker))
    }
}

impl Entry {
    fn view(&self, id: u64) -> CallView {
        CallView {
            id,
            provider: self.arrival.provider,
            model: self.arrival.model.clone(),
            seed: self.arrival.seed.as_deref().map(str::to_owned),
            arrived_ms: millis(self.arrival.at),
            outcome: self.outcome.map_or("open", |outcome| outcome.label),
            status: self.outcome.map_or(0, |outcome| outcome.status),
            body: String::from_utf8_lossy(&self.arrival.body).into_owned(),
        }
    }
}

fn keep_newest<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() >= REJECTIONS {
        list.pop_front();
    }
    list.push_back(item);
}

/// Whether `body` contains `text`.
fn contains(body: &[u8], text: &[u8]) -> bool {
    let Some((first, rest)) = text.split_first() else { return true };
    let starts = body.iter().enumerate().filter(|(_, byte)| *byte == first);
    starts.map(|(place, _)| &body[place + 1..]).any(|behind| behind.starts_with(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(seed: &str, body: &str) -> Arrival {
        Arrival {
            provider: Provider::OpenAi,
            model: "m".to_owned(),
            seed: Some(seed.into()),
            markers: Vec::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            at: 0,
        }
    }

    fn by_marker(ledger: &Ledger, marker: &str) -> Tally {
        ledger.tally(&Filter { marker: Some(marker.into()), ..Filter::default() })
    }

    const DONE: Outcome =
        Outcome { label: "answered", status: 200, usage: crate::wire::usage::Usage::NONE };

    #[test]
    fn seeds_are_counted_without_being_asked_for() {
        let ledger = Ledger::new(10);
        assert_eq!(ledger.arrive(arrival("a", "a")), (0, 1));
        assert_eq!(ledger.arrive(arrival("a", "a")), (1, 2));
        assert_eq!(ledger.arrive(arrival("b", "b")), (2, 1));
        ledger.finish(0, DONE);
        ledger.finish(0, Outcome::ABORTED);
        let tally = by_marker(&ledger, "a");
        assert_eq!((tally.calls, tally.open, tally.answered, tally.aborted), (2, 1, 1, 0));
        assert_eq!(tally.arrivals_ms.len(), 2);
    }

    #[test]
    fn a_marker_named_late_counts_what_the_log_holds_and_what_ends_later() {
        let ledger = Ledger::new(10);
        ledger.arrive(arrival("a", "quiz of user-7"));
        ledger.arrive(arrival("b", "quiz of user-8"));
        let marker: Arc<str> = "user-7".into();
        ledger.count_by(&marker);
        ledger.count_by(&marker);
        ledger.finish(0, Outcome::ABORTED);
        let tally = by_marker(&ledger, "user-7");
        assert_eq!((tally.calls, tally.open, tally.aborted), (1, 0, 1));
    }

    #[test]
    fn the_log_keeps_open_calls_however_short_it_is() {
        let ledger = Ledger::new(2);
        ledger.arrive(arrival("slow", "x"));
        for number in 1..=20 {
            ledger.arrive(arrival("quick", "x"));
            ledger.finish(number, DONE);
        }
        ledger.finish(0, DONE);
        assert_eq!(by_marker(&ledger, "slow").open, 0);
        assert_eq!(ledger.tally(&Filter::default()).open, 0);
        ledger.arrive(arrival("last", "x"));
        assert_eq!(ledger.calls(&Filter::default(), 100).len(), 2);
    }

    #[test]
    fn after_a_reset_late_ends_count_for_nothing() {
        let ledger = Ledger::new(10);
        let (id, _) = ledger.arrive(arrival("a", "x"));
        ledger.clear();
        ledger.finish(id, DONE);
        assert_eq!(ledger.tally(&Filter::default()), Tally::default());
        assert_eq!(ledger.arrive(arrival("a", "x")), (1, 1));
    }
}
