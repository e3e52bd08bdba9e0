//! The grammar of answers about the way of eating.

use super::super::vocabulary::{Kind, Sense, is_filler, senses};
use super::super::{Avoid, Exception, usage};
use super::styles::{self, Style};
use super::{Diet, words};
use crate::lexicon::Entry;
use crate::lexicon::spelling::distance;

/// A stretch of the answer, by what it does.
enum Item {
    Styles(Vec<Style>, String),
    Foods(Vec<&'static Entry>, String),
    /// "no", "not", "without", "previously": what follows does not hold.
    Deny,
    /// "free": the food before is left out.
    Free,
    /// "allergy": the same.
    Ailment,
    /// "eats", "with": the food after is eaten.
    Allow,
    /// "ok": the food before is eaten.
    Fine,
    /// "except": turns round what was said.
    Except,
    But,
    /// "mostly": the style after is a wish.
    Soft,
    /// "or", "and": the list goes on.
    Joint,
    /// A word that leaves everything as it is: "a", "strictly", "products".
    Link,
    Comma,
    Plus,
    Break,
    /// Another word that is known to name nothing.
    Other,
    Unknown(String),
}

/// What is done with the next food or style.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Neutral,
    Deny,
    Allow,
}

struct Reader {
    diet: Diet,
    mode: Mode,
    soft: bool,
    /// The latest style or denial forbids something.
    restricts: Option<bool>,
    /// Foods nothing was said about yet.
    run: Vec<&'static Entry>,
    /// The words of foods nothing was ever said about.
    bare: Vec<String>,
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
        run: Vec::new(),
        bare: Vec::new(),
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
    (matches!(last, Item::Deny) && broken && matches!(items[at], Item::Styles(..))).then_some(at)
}

impl Reader {
    fn take(&mut self, item: &Item, rest: &[Item]) {
        match item {
            Item::Styles(styles, words) => self.styles(styles, words),
            Item::Foods(foods, words) => self.foods(foods, words),
            Item::Deny => self.mode = Mode::Deny,
            Item::Free if next_is_food(rest) && self.run.is_empty() => self.mode = Mode::Deny,
            Item::Free | Item::Ailment => self.leave_out_run(),
            Item::Allow if self.mode == Mode::Deny => {}
            Item::Allow => {
                self.flush();
                self.mode = Mode::Allow;
            }
            Item::Fine => {
                if self.mode != Mode::Deny {
                    self.allow_run();
                }
                self.mode = Mode::Neutral;
            }
            Item::Except => {
                self.flush();
                self.mode = if self.restricts == Some(true) { Mode::Allow } else { Mode::Deny };
            }
            Item::But => {
                // "Fish but no meat": the food is eaten.
                if matches!(rest.first(), Some(Item::Styles(..))) {
                    let eaten = |entry: &&&Entry| !is_generic(entry);
                    let run = self.run.iter().filter(eaten).flat_map(|entry| Exception::of(entry));
                    self.diet.exceptions.extend(run);
                }
                self.flush();
                self.mode = match self.restricts {
                    Some(false) if !matches!(rest.first(), Some(Item::Allow)) => Mode::Deny,
                    Some(true) if matches!(rest.first(), Some(Item::Foods(..))) => Mode::Allow,
                    _ => Mode::Neutral,
                };
            }
            Item::Soft => self.soft = self.mode != Mode::Deny,
            Item::Joint | Item::Link => {}
            Item::Plus if self.restricts == Some(true) => self.mode = Mode::Allow,
            Item::Comma | Item::Plus => self.comma(rest),
            Item::Break | Item::Other => {
                self.flush();
                self.mode = Mode::Neutral;
            }
            Item::Unknown(word) => self.unknown(word),
        }
    }

    fn styles(&mut self, styles: &[Style], words: &str) {
        self.flush();
        if self.mode == Mode::Deny {
            // What is denied forbids nothing; the list may go on.
            self.restricts = None;
            return;
        }
        for style in styles {
            let style = if self.soft { Style::Flexible } else { *style };
            if style.is_unchecked() {
                self.diet.unread.push(words.to_owned());
            }
            if style != Style::Unchecked && !self.diet.styles.contains(&style) {
                self.diet.styles.push(style);
            }
            self.restricts = Some(style != Style::Anything);
        }
        self.soft = false;
        self.mode = Mode::Neutral;
    }

    fn foods(&mut self, foods: &[&'static Entry], words: &str) {
        let promise = foods.iter().any(|entry| entry.own & usage::FREES != 0);
        match self.mode {
            Mode::Deny => {
                foods.iter().for_each(|entry| self.diet.avoid.add_term(entry));
                self.restricts = Some(true);
            }
            Mode::Neutral if promise => {
                foods.iter().for_each(|entry| self.diet.avoid.add_term(entry));
            }
            Mode::Allow => {
                let all = foods.iter().flat_map(|entry| Exception::of(entry));
                self.diet.exceptions.extend(all);
            }
            Mode::Neutral => {
                self.run.extend(foods);
                self.bare.push(words.to_owned());
            }
        }
    }

    fn unknown(&mut self, word: &str) {
        self.flush();
        if self.mode == Mode::Deny {
            self.diet.avoid = std::mem::take(&mut self.diet.avoid).and(&Avoid::allergies(word));
        }
        self.diet.unread.push(word.to_owned());
        self.mode = Mode::Neutral;
    }

    fn comma(&mut self, rest: &[Item]) {
        self.soft = false;
        if !next_is_food(rest) || is_said_fine(rest) {
            self.mode = Mode::Neutral;
        }
        if !next_is_food(rest) {
            self.flush();
        }
    }

    fn leave_out_run(&mut self) {
        for entry in std::mem::take(&mut self.run) {
            self.diet.avoid.add_term(entry);
            self.restricts = Some(true);
        }
        self.bare.clear();
    }

    fn allow_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        self.diet.exceptions.extend(run.into_iter().flat_map(Exception::of));
        self.bare.clear();
    }

    /// A condition or the name of an allergen alone ("Celiac", "gluten") is left out.
    fn flush(&mut self) {
        for entry in std::mem::take(&mut self.run) {
            if is_generic(entry) {
                self.diet.avoid.add_term(entry);
            }
        }
    }

    fn finish(mut self) -> Diet {
        self.flush();
        let diet = &mut self.diet;
        diet.avoid.except(&diet.exceptions);
        if diet.styles.is_empty() && diet.avoid.is_empty() && diet.exceptions.is_empty() {
            diet.unread.append(&mut self.bare);
        }
        self.diet
    }
}

fn is_generic(entry: &Entry) -> bool {
    entry.own & (usage::GENERIC | usage::CONDITION) != 0
}

fn next_is_food(rest: &[Item]) -> bool {
    let next = rest.iter().find(|item| !matches!(item, Item::Joint | Item::Link));
    matches!(next, Some(Item::Foods(..)))
}

/// Whether the foods that come next are followed by "ok".
fn is_said_fine(rest: &[Item]) -> bool {
    let next = rest.iter().find(|item| !matches!(item, Item::Foods(..) | Item::Joint | Item::Link));
    matches!(next, Some(Item::Fine))
}

fn items(text: &str) -> Vec<Item> {
    let senses = split(senses(text));
    let words: Vec<&str> = senses.iter().map(|sense| sense.words.as_str()).collect();
    let mut items = Vec::new();
    let mut at = 0;
    while at < senses.len() {
        if let Some((styles, length)) = style_at(&senses[at..]) {
            let all: Vec<&str> =
                words[at..at + length].iter().copied().filter(|w| !w.is_empty()).collect();
            items.push(Item::Styles(styles, all.join(" ")));
            at += length;
            continue;
        }
        items.push(item(&senses[at], text));
        at += 1;
    }
    items
}

fn item(sense: &Sense, text: &str) -> Item {
    let word = sense.words.as_str();
    match &sense.kind {
        Kind::Comma if text.get(sense.range.clone()) == Some("+") => Item::Plus,
        Kind::Comma if text.get(sense.range.clone()) == Some("/") => Item::Joint,
        Kind::Comma => Item::Comma,
        Kind::Bracket | Kind::Stop => Item::Break,
        Kind::Food(_) | Kind::Filler | Kind::Unknown if words::DENY.contains(&word) => Item::Deny,
        Kind::Food(foods) => Item::Foods(foods.clone(), word.to_owned()),
        Kind::Filler | Kind::Unknown => match word {
            _ if words::FREE.contains(&word) => Item::Free,
            _ if words::AILMENTS.contains(&word) => Item::Ailment,
            _ if words::EXCEPT.contains(&word) => Item::Except,
            _ if words::BUT.contains(&word) => Item::But,
            _ if words::FINE.contains(&word) => Item::Fine,
            _ if words::ALLOW.contains(&word) => Item::Allow,
            _ if words::SOFT.contains(&word) => Item::Soft,
            _ if words::JOINTS.contains(&word) => Item::Joint,
            _ if words::LINKS.contains(&word) => Item::Link,
            _ if sense.kind == Kind::Filler || words::OTHERS.contains(&word) => Item::Other,
            _ => Item::Unknown(word.to_owned()),
        },
    }
}

/// The senses as single words where a style or a compound may begin inside
/// them: "nonvegetarian", "eggfree", "Eifrei".
fn split(senses: Vec<Sense>) -> Vec<Sense> {
    let mut out = Vec::with_capacity(senses.len());
    for sense in senses {
        let word = sense.words.as_str();
        if word.contains(' ') || word.is_empty() || styles::names().word(word).is_some() {
            out.push(sense);
            continue;
        }
        let part = |words: &str, kind: Kind| Sense {
            words: words.to_owned(),
            range: sense.range.clone(),
            kind,
        };
        let negated = ["non", "anti"].iter().find_map(|prefix| {
            word.strip_prefix(prefix)
                .filter(|rest| single(rest).is_some())
                .map(|rest| (*prefix, rest))
        });
        let freed = ["free", "frei", "vrij", "fritt", "fri"].iter().find_map(|suffix| {
            let first = word.strip_suffix(suffix).filter(|first| first.len() > 1)?;
            let found = vocabulary_of(first).or_else(|| vocabulary_of(first.strip_suffix('s')?))?;
            Some((first, found))
        });
        match (negated, freed) {
            (Some((prefix, rest)), _) => {
                out.push(part(prefix, Kind::Filler));
                out.push(part(rest, Kind::Filler));
            }
            (None, Some((first, kind))) => {
                out.push(part(first, kind));
                out.push(part("free", Kind::Filler));
            }
            (None, None) => out.push(sense),
        }
    }
    out
}

fn vocabulary_of(word: &str) -> Option<Kind> {
    let found = senses(word);
    found.into_iter().next().map(|sense| sense.kind).filter(|kind| matches!(kind, Kind::Food(_)))
}

/// The styles named by the senses that begin here, and how many senses that is.
fn style_at(senses: &[Sense]) -> Option<(Vec<Style>, usize)> {
    // A sense may be several words, and "16:8" has a mark inside.
    let mut ids = Vec::new();
    let mut ends = Vec::new();
    for (at, sense) in senses.iter().enumerate().take(8) {
        let inside_number = sense.kind == Kind::Comma
            && at > 0
            && [at.checked_sub(1), Some(at + 1)].into_iter().flatten().all(|at| {
                senses
                    .get(at)
                    .is_some_and(|sense| sense.words.starts_with(|c: char| c.is_ascii_digit()))
            });
        if inside_number {
            continue;
        }
        if sense.words.is_empty() {
            break;
        }
        for word in sense.words.split(' ') {
            ids.push(style_word(word, &sense.kind));
            ends.push((at, false));
        }
        if let Some(end) = ends.last_mut() {
            end.1 = true;
        }
    }
    let found = styles::names().longest(&ids).map(|(entry, length)| (entry.own, length));
    if let Some((bits, length)) = found
        && let Some((at, true)) = ends.get(length - 1)
    {
        return Some((styles::of(bits).collect(), at + 1));
    }
    let sense = senses.first()?;
    let bits = unspaced(&sense.words).filter(|_| !matches!(sense.kind, Kind::Filler))?;
    Some((styles::of(bits).collect(), 1))
}

fn style_word(word: &str, kind: &Kind) -> Option<u32> {
    // Vegetables are no way of eating.
    if word == "veggies" {
        return None;
    }
    styles::names().word(word).or_else(|| match kind {
        Kind::Unknown => single(word),
        // A near miss of a style may be nearer to some food.
        Kind::Food(_) if super::super::foods().word(word).is_none() => single(word),
        _ => None,
    })
}

/// The style of one word that a word is or is a misspelling of.
fn single(word: &str) -> Option<u32> {
    let exact =
        styles::names().word(word).filter(|id| styles::names().longest(&[Some(*id)]).is_some());
    exact.or_else(|| {
        let limit = match word.chars().count() {
            0..=4 => return None,
            5..=7 => 1,
            _ => 2,
        };
        if is_filler(word) {
            return None;
        }
        let letter = word.chars().next()?;
        let known = styles::names().single_words(letter).iter();
        known
            .filter(|(name, _)| name.chars().count() >= 4)
            .map(|(name, id)| (distance(name, word, limit), !same_letters(name, word), name, *id))
            .filter(|(edits, ..)| *edits <= limit)
            .min()
            .map(|(.., id)| id)
    })
}

/// Whether only the order of the letters differs, the likelier mistake.
fn same_letters(left: &str, right: &str) -> bool {
    let sorted = |word: &str| {
        let mut letters: Vec<char> = word.chars().collect();
        letters.sort_unstable();
        letters
    };
    sorted(left) == sorted(right)
}

/// A style inside a word of a script without spaces, unless it is negated.
fn unspaced(word: &str) -> Option<u128> {
    const NOT: [char; 6] = ['非', '不', '无', '無', '没', '未'];
    if !word.chars().any(|c| ('\u{e00}'..='\u{e7f}').contains(&c) || c >= '\u{3040}') {
        return None;
    }
    let names = styles::names().entries().iter();
    let inside = names.filter_map(|entry| Some((entry, word.find(entry.term.as_str())?)));
    let (entry, at) = inside.max_by_key(|(entry, _)| entry.term.len())?;
    let negated = word[..at].chars().next_back().is_some_and(|c| NOT.contains(&c));
    (!negated && !entry.term.is_empty()).then_some(entry.own)
}
