//! Splits answers about the diet into diets, foods and function words.

use super::super::usage;
use super::super::vocabulary::{Kind, Sense, is_exactly_food, is_filler, senses};
use super::styles::{self, Style};
use super::words::{self, Word};
use crate::lexicon::Entry;

/// A part of the answer, by its role.
pub(super) enum Item {
    Styles(Vec<Style>, String),
    Foods(Vec<&'static Entry>, String),
    Word(Word),
    Comma,
    Plus,
    Break,
    Unknown(String),
}

/// The answer in parts, in order.
pub(super) fn items(text: &str) -> Vec<Item> {
    let senses = split(senses(text));
    let words: Vec<&str> = senses.iter().map(|sense| sense.words.as_str()).collect();
    let mut items = Vec::new();
    let mut at = 0;
    while at < senses.len() {
        let style = style_at(&senses[at..]).filter(|(styles, length)| {
            let names_food = *length == 1 && names_food(&senses[at]);
            let denies =
                styles == &[Style::Anything] && *length == 1 && says_more(&senses[at + 1..]);
            // "sem ovos", "keine Eier": not a diet.
            let denied = names_food && matches!(items.last(), Some(Item::Word(Word::Deny)));
            !denied && !denies
        });
        let (item, length) = match style {
            Some((styles, length)) => {
                let all = words[at..at + length].iter().copied().filter(|word| !word.is_empty());
                (Item::Styles(styles, all.collect::<Vec<_>>().join(" ")), length)
            }
            None => (item(&senses, at, items.last(), text), 1),
        };
        items.push(item);
        at += length;
    }
    items
}

/// Whether a food or a diet follows directly.
fn says_more(senses: &[Sense]) -> bool {
    senses.first().is_some_and(|sense| names_food(sense) || style_at(senses).is_some())
}

/// Whether a part names a food, and not only a property such as "vegan".
fn names_food(sense: &Sense) -> bool {
    sense.foods().iter().any(|entry| entry.own & usage::FREES == 0)
}

fn item(senses: &[Sense], at: usize, before: Option<&Item>, text: &str) -> Item {
    let sense = &senses[at];
    let plain = sense.words.as_str();
    let written = text.get(sense.range.clone()).unwrap_or_default();
    let word = words::word(plain, written);
    match &sense.kind {
        Kind::Comma if written == "+" => Item::Plus,
        Kind::Comma if written == "/" => Item::Word(Word::Joint),
        Kind::Comma => Item::Comma,
        // "incl."
        Kind::Stop if matches!(before, Some(Item::Word(Word::Allow))) => Item::Word(Word::Link),
        Kind::Bracket | Kind::Stop => Item::Break,
        Kind::Food(foods) => match word {
            // A food only by a guess, or a word with two meanings: Spanish "soy
            // vegetariano", French "végétarien mais".
            Some(word) if !is_exactly_food(plain) || word == Word::Deny => Item::Word(word),
            Some(Word::But) if matches!(before, Some(Item::Styles(..))) => Item::Word(Word::But),
            Some(Word::Other) if is_romance_style(&senses[at + 1..]) => Item::Word(Word::Link),
            _ => Item::Foods(foods.clone(), plain.to_owned()),
        },
        Kind::Filler => Item::Word(word.unwrap_or(Word::Other)),
        Kind::Unknown => word.map_or_else(|| Item::Unknown(plain.to_owned()), Item::Word),
    }
}

/// Whether a diet in Spanish follows, after "soy".
fn is_romance_style(senses: &[Sense]) -> bool {
    style_at(senses).is_some() && senses[0].words.ends_with(['o', 'a'])
}

/// The senses as single words if a diet or a compound may start inside them:
/// "nonvegetarian", "eggfree", "Eifrei".
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
            languages: sense.languages,
        };
        let negated = ["non", "anti"].iter().find_map(|prefix| {
            word.strip_prefix(prefix)
                .filter(|rest| single(rest).is_some())
                .map(|rest| (*prefix, rest))
        });
        // "bezglutenowa", "不吃猪肉".
        let without = WITHOUT.iter().find_map(|without| {
            let rest = word.strip_prefix(without)?;
            vocabulary_of(rest)
        });
        if let Some(kind) = without {
            out.push(part("no", Kind::Filler));
            out.push(part(word, kind));
            continue;
        }
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

/// Prefixes that exclude a food, in plain letters.
const WITHOUT: [&str; 10] = ["bez", "бeз", "不吃", "不要", "不", "无", "無", "沒有", "没有", "非"];

fn vocabulary_of(word: &str) -> Option<Kind> {
    let found = senses(word);
    found.into_iter().next().map(|sense| sense.kind).filter(|kind| matches!(kind, Kind::Food(_)))
}

/// The diets named by the senses that start here, and the number of those senses.
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
    // Vegetables are not a diet.
    if word == "veggies" {
        return None;
    }
    styles::names().word(word).or_else(|| match kind {
        Kind::Unknown => single(word),
        // A near miss of a diet may be nearer to some food.
        Kind::Food(_) if super::super::foods().word(word).is_none() => single(word),
        _ => None,
    })
}

/// The diet that a single word is or is a misspelling of.
fn single(word: &str) -> Option<u32> {
    let exact =
        styles::names().word(word).filter(|id| styles::names().longest(&[Some(*id)]).is_some());
    exact.or_else(|| {
        let limit = match word.chars().count() {
            5..=7 => 1,
            8..=24 => 2,
            _ => return None,
        };
        if is_filler(word) {
            return None;
        }
        let near = styles::names().single_words().near(word, word.chars().next()?, limit);
        near.filter(|(_, name, _)| name.chars().count() >= 4)
            .map(|(edits, name, id)| (edits, !same_letters(name, word), name, *id))
            .min()
            .map(|(.., id)| id)
    })
}

/// Whether only the order of the letters differs, which is the more likely mistake.
fn same_letters(left: &str, right: &str) -> bool {
    let sorted = |word: &str| {
        let mut letters: Vec<char> = word.chars().collect();
        letters.sort_unstable();
        letters
    };
    sorted(left) == sorted(right)
}

/// A diet inside a word of a script without spaces, unless it is negated.
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
