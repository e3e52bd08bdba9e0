//! The grammar of answers about the diet.

use super::super::{Avoid, Exception, Trait, Traits, usage};
use super::Diet;
use super::items::{Item, items};
use super::styles::Style;
use super::words::Word;
use crate::lexicon::Entry;

/// The role of the next food or diet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Neutral,
    Deny,
    Allow,
}

/// A food without a statement so far.
struct Named {
    entry: &'static Entry,
    words: String,
    /// Whether "and" or the like joins it to a diet.
    joined: bool,
}

struct Reader {
    diet: Diet,
    mode: Mode,
    soft: bool,
    /// The latest diet or negation forbids something.
    restricts: Option<bool>,
    /// The diets named last, for later words about them.
    latest: Vec<Style>,
    latest_words: String,
    /// The next words are joined to a diet.
    joined: bool,
    /// The last word was "and" or the like.
    list_goes_on: bool,
    /// The current statement began here and continues.
    goes_on: bool,
    run: Vec<Named>,
    /// The words of foods without any statement.
    bare: Vec<String>,
    /// The foods of "chicken and fish only".
    only: Vec<&'static Entry>,
    limits: bool,
}

pub(super) fn read(text: &str) -> Diet {
    if text.trim().eq_ignore_ascii_case("if") {
        return Diet { styles: vec![Style::Fasting], ..Diet::default() };
    }
    let items = items(text);
    let mut reader = Reader {
        diet: Diet::default(),
        mode: Mode::Neutral,
        soft: false,
        restricts: None,
        latest: Vec::new(),
        latest_words: String::new(),
        joined: false,
        list_goes_on: false,
        goes_on: false,
        run: Vec::new(),
        bare: Vec::new(),
        only: Vec::new(),
        limits: false,
    };
    let answered_no = answers_no(&items);
    for (at, item) in items.iter().enumerate() {
        if answered_no != Some(at) {
            reader.take(item, &items[at + 1..]);
        }
    }
    reader.finish()
}

/// The style in "Vegetarian: no", by its place.
fn answers_no(items: &[Item]) -> Option<usize> {
    let (last, before) = items.split_last()?;
    let at = before.iter().rposition(|item| !matches!(item, Item::Comma | Item::Break))?;
    let broken = at + 1 < before.len();
    let is_no = matches!(last, Item::Word(Word::Deny));
    (is_no && broken && matches!(items[at], Item::Styles(..))).then_some(at)
}

impl Reader {
    fn take(&mut self, item: &Item, rest: &[Item]) {
        match item {
            Item::Styles(styles, words) => self.styles(styles, words),
            Item::Foods(foods, words) => self.foods(foods, words, rest),
            Item::Word(word) => self.word(*word, rest),
            Item::Plus if self.restricts == Some(true) => {
                self.flush();
                self.mode = Mode::Allow;
            }
            Item::Comma | Item::Plus => self.comma(rest),
            Item::Break => {
                self.end_clause();
                self.goes_on = false;
            }
            Item::Unknown(word) => self.unknown(word),
        }
        self.list_goes_on = matches!(item, Item::Word(Word::Joint));
    }

    fn word(&mut self, word: Word, rest: &[Item]) {
        match word {
            Word::Deny => self.mode = Mode::Deny,
            Word::Free | Word::Ailment | Word::Less if !self.run.is_empty() => self.leave_out_run(),
            Word::Free if !next_is_food(rest) => {}
            // "No allergies".
            Word::Ailment if self.mode == Mode::Deny => self.mode = Mode::Neutral,
            Word::Free | Word::Ailment => self.mode = Mode::Deny,
            Word::Less => (self.mode, self.soft) = (Mode::Deny, true),
            Word::Much => self.soft |= self.mode == Mode::Deny,
            Word::Allow | Word::Only if self.mode == Mode::Deny => {}
            Word::Only if !self.run.is_empty() => {
                self.only.extend(self.run.iter().map(|named| named.entry));
                self.allow_run();
            }
            Word::Allow | Word::Only => {
                self.flush();
                self.mode = Mode::Allow;
                self.limits = word == Word::Only;
            }
            Word::Fine if self.mode == Mode::Deny => self.leave_out_run(),
            Word::Fine => {
                self.allow_run();
                self.mode = Mode::Neutral;
            }
            Word::Except => {
                self.flush();
                self.mode = if self.restricts == Some(true) { Mode::Allow } else { Mode::Deny };
            }
            Word::But => self.but(rest),
            Word::Soft => self.soft(rest),
            Word::Past => self.past(rest),
            Word::Longer if self.mode == Mode::Deny && !next_is_named(rest) => self.retract(None),
            Word::Longer if next_is_style(rest) && self.mode != Mode::Deny => self.soft = true,
            Word::Since => self.goes_on = true,
            Word::Joint => self.joined |= !self.latest.is_empty(),
            Word::Link | Word::Longer => {}
            Word::Other => {
                self.doubt_run();
                self.flush();
                self.mode = Mode::Neutral;
            }
        }
    }

    fn but(&mut self, rest: &[Item]) {
        // "Fish but no meat": the food is eaten.
        if matches!(rest.first(), Some(Item::Styles(..) | Item::Word(Word::Deny))) {
            let eaten = self.run.iter().filter(|named| !is_generic(named.entry));
            let eaten = eaten.flat_map(|named| Exception::of(named.entry));
            self.diet.exceptions.extend(eaten);
        }
        self.flush();
        self.mode = match (self.restricts, rest.first()) {
            (Some(false), Some(Item::Word(Word::Allow | Word::Only))) => Mode::Neutral,
            (Some(false), _) => Mode::Deny,
            (Some(true), Some(Item::Foods(..))) => Mode::Allow,
            _ => Mode::Neutral,
        };
    }

    /// "Mostly vegetarian", "vegetarian on weekdays"; but "sometimes fish" is eaten.
    fn soft(&mut self, rest: &[Item]) {
        if self.mode == Mode::Deny {
            self.soft = next_is_food(rest);
        } else if next_is_food(rest) {
            self.flush();
            self.mode = Mode::Allow;
        } else if next_is_style(rest) || self.latest.is_empty() {
            self.soft = true;
        } else {
            self.retract(Some(Style::Flexible));
        }
    }

    /// "Once vegan", "vegan in the past"; not "vegan since 2 years ago".
    fn past(&mut self, rest: &[Item]) {
        if next_is_style(rest) {
            self.mode = Mode::Deny;
        } else if !self.goes_on {
            self.retract(None);
        }
    }

    /// Removes the diets named last, and reports it.
    fn retract(&mut self, instead: Option<Style>) {
        self.mode = Mode::Neutral;
        let latest = std::mem::take(&mut self.latest);
        if latest.iter().all(|style| style.forbids().is_empty()) {
            return;
        }
        let diet = &mut self.diet;
        diet.styles.retain(|style| !latest.contains(style));
        diet.styles.extend(instead.filter(|style| !diet.styles.contains(style)));
        diet.unread.push(std::mem::take(&mut self.latest_words));
        self.restricts = None;
    }

    fn styles(&mut self, styles: &[Style], words: &str) {
        // "Fish and vegetarian": the food is eaten.
        if self.list_goes_on && self.mode == Mode::Neutral {
            let eaten =
                |named: &&Named| styles.iter().any(|style| is_forbidden_by(named.entry, *style));
            let eaten = self.run.iter().filter(eaten);
            self.diet.exceptions.extend(eaten.flat_map(|named| Exception::of(named.entry)));
            self.run.retain(|named| is_generic(named.entry));
        }
        self.flush();
        (self.joined, self.latest) = (false, Vec::new());
        if self.mode == Mode::Deny {
            // A negated diet forbids nothing; the list may continue.
            self.restricts = None;
            return;
        }
        for style in styles {
            self.add_style(*style, words);
        }
        self.soft = false;
        self.mode = Mode::Neutral;
    }

    fn add_style(&mut self, style: Style, words: &str) {
        let style = if self.soft { Style::Flexible } else { style };
        if style.is_unchecked() {
            self.diet.unread.push(words.to_owned());
        }
        if style != Style::Unchecked && !self.diet.styles.contains(&style) {
            self.diet.styles.push(style);
        }
        self.restricts = Some(style != Style::Anything);
        self.latest.push(style);
        words.clone_into(&mut self.latest_words);
    }

    fn foods(&mut self, foods: &[&'static Entry], words: &str, rest: &[Item]) {
        let promise = foods.iter().any(|entry| entry.own & usage::FREES != 0);
        // "Egg allergy" in one.
        let ailing = foods.iter().any(|entry| entry.own & usage::CONDITION != 0);
        match self.mode {
            Mode::Deny => {
                for entry in foods {
                    match style_without(entry) {
                        Some(style) => self.add_style(style, words),
                        None => self.diet.avoid.add_term(entry),
                    }
                }
                self.restricts = Some(true);
            }
            Mode::Neutral if promise => {
                foods.iter().for_each(|entry| self.diet.avoid.add_term(entry));
            }
            Mode::Allow if !ailing && !is_left_out(rest) => {
                let all = foods.iter().flat_map(|entry| Exception::of(entry));
                self.diet.exceptions.extend(all);
                self.only.extend(foods.iter().filter(|_| self.limits));
            }
            Mode::Allow | Mode::Neutral => {
                let named = |entry: &&'static Entry| Named {
                    entry,
                    words: words.to_owned(),
                    joined: self.joined && !ailing,
                };
                self.run.extend(foods.iter().map(named));
                self.bare.push(words.to_owned());
            }
        }
    }

    fn unknown(&mut self, word: &str) {
        self.doubt_run();
        if self.mode == Mode::Deny {
            self.diet.avoid = std::mem::take(&mut self.diet.avoid).and(&Avoid::allergies(word));
        }
        self.diet.unread.push(word.to_owned());
        self.end_clause();
    }

    fn comma(&mut self, rest: &[Item]) {
        self.soft = false;
        if next_is_food(rest) && !is_said_fine(rest) {
            return;
        }
        self.end_clause();
    }

    fn end_clause(&mut self) {
        self.flush();
        self.joined = false;
        self.mode = Mode::Neutral;
    }

    /// After unknown words, a join to a diet means nothing.
    fn doubt_run(&mut self) {
        self.run.iter_mut().for_each(|named| named.joined = false);
    }

    fn leave_out_run(&mut self) {
        for Named { entry, words, .. } in std::mem::take(&mut self.run) {
            match style_without(entry) {
                Some(style) => self.add_style(style, &words),
                None => self.diet.avoid.add_term(entry),
            }
            self.restricts = Some(true);
        }
        self.mode = Mode::Neutral;
        self.bare.clear();
    }

    fn allow_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        self.diet.exceptions.extend(run.into_iter().flat_map(|named| Exception::of(named.entry)));
        self.bare.clear();
    }

    /// Decides about foods without a statement. A food that a diet forbids is eaten if it
    /// is joined to the diet ("vegetarian and fish"); next to it ("vegan, honey") it is
    /// reported. A condition or the name of an allergen alone ("Celiac", "gluten") is
    /// excluded.
    fn flush(&mut self) {
        for Named { entry, words, joined } in std::mem::take(&mut self.run) {
            let forbidden = self.diet.styles.iter().any(|style| is_forbidden_by(entry, *style));
            if forbidden && joined && self.mode != Mode::Deny {
                self.diet.exceptions.extend(Exception::of(entry));
            } else if is_generic(entry) {
                self.diet.avoid.add_term(entry);
            } else if forbidden && !self.diet.unread.contains(&words) {
                self.diet.unread.push(words);
            }
        }
    }

    fn finish(mut self) -> Diet {
        self.flush();
        if let Some(style) = limited_to(&self.only)
            && !self.diet.styles.iter().any(|style| style.forbids().contains(Trait::Meat))
        {
            self.diet.styles.push(style);
        }
        let diet = &mut self.diet;
        diet.avoid.except(&diet.exceptions);
        if diet.styles.is_empty() && diet.avoid.is_empty() && diet.exceptions.is_empty() {
            diet.unread.append(&mut self.bare);
        }
        self.diet
    }
}

/// Whether a diet forbids a food because of what it openly is.
fn is_forbidden_by(entry: &Entry, style: Style) -> bool {
    !Traits(entry.open & !usage::ALL).and(style.forbids()).is_empty()
}

/// The diet of people who exclude this entirely.
fn style_without(entry: &Entry) -> Option<Style> {
    let own = Traits(entry.own & !usage::ALL);
    let all = entry.own & (usage::GENERIC | usage::WHOLE) != 0;
    [
        (Trait::Meat, Style::Vegetarian),
        (Trait::Sugar, Style::NoSugar),
        (Trait::Alcohol, Style::NoAlcohol),
    ]
    .into_iter()
    .find(|(one, _)| own == Traits::of(&[*one]) && (all || entry.term == one.mark()))
    .map(|(_, style)| style)
}

/// The diet of people who eat only this meat.
fn limited_to(foods: &[&'static Entry]) -> Option<Style> {
    let all = foods.iter().fold(Traits::NONE, |all, entry| all.or(Traits(entry.own & !usage::ALL)));
    let red = [Trait::Meat, Trait::Pork, Trait::Beef, Trait::Lamb].map(|one| all.contains(one));
    let seafood = [Trait::Fish, Trait::Crustacean, Trait::Mollusc]
        .map(|one| all.contains(one))
        .contains(&true);
    match (all.contains(Trait::Poultry), seafood) {
        _ if red.contains(&true) => None,
        (true, true) => Some(Style::PolloPescatarian),
        (true, false) => Some(Style::Pollotarian),
        (false, true) => Some(Style::Pescatarian),
        (false, false) => None,
    }
}

fn is_generic(entry: &Entry) -> bool {
    entry.own & (usage::GENERIC | usage::CONDITION) != 0
}

/// The next item, without words that change nothing.
fn next(rest: &[Item]) -> Option<&Item> {
    rest.iter().find(|item| !matches!(item, Item::Word(Word::Joint | Word::Link)))
}

fn next_is_food(rest: &[Item]) -> bool {
    matches!(next(rest), Some(Item::Foods(..)))
}

fn next_is_style(rest: &[Item]) -> bool {
    matches!(next(rest), Some(Item::Styles(..)))
}

fn next_is_named(rest: &[Item]) -> bool {
    next_is_food(rest) || next_is_style(rest)
}

/// The statement about the foods of a list that continues here.
fn after_foods(rest: &[Item]) -> Option<&Item> {
    let of_list =
        |item: &&Item| !matches!(item, Item::Foods(..) | Item::Word(Word::Joint | Word::Link));
    rest.iter().find(of_list)
}

/// Whether the next foods are followed by "ok".
fn is_said_fine(rest: &[Item]) -> bool {
    matches!(after_foods(rest), Some(Item::Word(Word::Fine)))
}

/// Whether the foods here are followed by "free" or "allergy".
fn is_left_out(rest: &[Item]) -> bool {
    matches!(after_foods(rest), Some(Item::Word(Word::Free | Word::Ailment)))
}
