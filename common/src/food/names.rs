//! Food names in other languages, in answers and in plans.
//!
//! A name maps to a term of the food tables (`haselnuss` to `hazelnut`), so a
//! language needs only data: the names of the EU allergens in fifty languages,
//! foods that contain them, and a hand-written table of other words that people
//! use. Endings, compounds and typing errors are handled by rules; a wrong
//! guess in an answer can only exclude a food, never allow one.

use std::borrow::Cow;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};
use rustc_hash::{FxHashMap, FxHashSet};

use super::foods;
use super::languages::Languages;
use crate::lexicon::Entry;
use crate::lexicon::spelling::Misspellings;
use crate::lexicon::token;

/// Key, group, locale and name per line, tab-separated; source in its header.
const EU_NAMES: &str = include_str!("data/allergen_names.tsv");
/// `term of the food tables = names`, written by hand.
const OTHER_NAMES: &str = include_str!("data/other_languages.txt");
/// The same under `[locale]`, with marks.
const BY_LANGUAGE: &str = include_str!("data/languages.txt");
/// What may precede or follow a food in a compound of such languages.
const PARTS: &str = include_str!("data/compound_parts.txt");
/// Names that are ordinary words of English, or shared by many languages.
const ORDINARY: &str = include_str!("data/ordinary_words.txt");

/// The keys of [`EU_NAMES`] as terms of the food tables.
const KEYS: [(&str, &str); 28] = [
    ("ALMONDS", "almond"),
    ("BARLEY", "barley"),
    ("BRAZIL_NUTS", "brazil nut"),
    ("CASHEWS", "cashew"),
    ("CELERY", "celery"),
    ("CRUSTACEANS", "crustacean"),
    ("EGGS", "egg"),
    ("EINKORN", "einkorn"),
    ("EMMER", "emmer"),
    ("FISH", "fish"),
    ("HAZELNUTS", "hazelnut"),
    ("KHORASAN", "khorasan"),
    ("LUPINS", "lupin"),
    ("MACADAMIA", "macadamia"),
    ("MILK", "milk"),
    ("MOLLUSCS", "mollusc"),
    ("MUSTARD", "mustard"),
    ("OATS", "oat"),
    ("PEANUTS", "peanut"),
    ("PECANS", "pecan"),
    ("PISTACHIOS", "pistachio"),
    ("RYE", "rye"),
    ("SESAME", "sesame"),
    ("SOY", "soy"),
    ("SPELT", "spelt"),
    ("SULPHITES", "sulphite"),
    ("WALNUTS", "walnut"),
    ("WHEAT", "wheat"),
];

/// The longest name, in words.
const MOST_WORDS: usize = 5;
/// A longer word is not split: it is not a word, and that would take long.
const MOST_BYTES: usize = 120;
/// Shorter names are not guessed.
const MIN_STEM: usize = 4;
/// Suffixes of a food's name that mean "absent".
pub(super) const FREE_AFTER: [&str; 34] = [
    "freies",
    "freier",
    "freien",
    "freie",
    "frei",
    "vrije",
    "vrij",
    "fritt",
    "fria",
    "frie",
    "fri",
    "mentesen",
    "mentes",
    "vabad",
    "vaba",
    "ttomat",
    "tomat",
    "ton",
    "siz",
    "suz",
    "free",
    "不使用",
    "未使用",
    "なし",
    "無し",
    "フリー",
    "抜き",
    "を使わない",
    "を含まない",
    "프리",
    "없는",
    "없이",
    "제외",
    "ปลอด",
];
/// Prefixes that mean the same.
pub(super) const FREE_BEFORE: [&str; 20] = [
    "bez",
    "без",
    "不含",
    "不加",
    "不放",
    "无",
    "無",
    "免",
    "去",
    "没有",
    "沒有",
    "零",
    "ปราศจาก",
    "ไม่ใส่",
    "ไม่มี",
    "หลีกเลี่ยง",
    "避免",
    "避开",
    "避開",
    "ノン",
];
/// For scripts whose letters are syllables or that omit vowels.
const MIN_DENSE_STEM: usize = 3;
/// Letters an inflected form may have beyond the stem.
const MAX_ENDING: usize = 4;
/// Shorter names in Latin letters are too often another word.
const MIN_SURE: usize = 5;

pub(super) type Terms = Vec<&'static Entry>;

/// The meaning of a word in an answer, and its languages.
#[derive(Debug, Clone, Default)]
pub(super) struct Meaning {
    pub(super) terms: Terms,
    pub(super) languages: Languages,
}

impl Meaning {
    fn of<'n>(names: impl IntoIterator<Item = &'n Name>) -> Option<Self> {
        let mut all = Self::default();
        for name in names {
            add(&mut all.terms, &name.declared);
            all.languages = all.languages.or(name.languages);
        }
        (!all.terms.is_empty()).then_some(all)
    }
}

/// A food name in other languages.
#[derive(Debug, Default)]
pub(super) struct Name {
    /// Its terms; none for a word that only looks like a food with an allergen.
    pub(super) terms: Terms,
    /// Its terms in an answer.
    declared: Terms,
    /// Its known languages.
    pub(super) languages: Languages,
    /// It has no other meaning in any language.
    pub(super) sure: bool,
    /// It is also an ordinary English word.
    pub(super) ordinary: bool,
    /// Counts only where foods are listed.
    pub(super) listed: bool,
    /// From the tables for answers, which are matched in every way.
    core: bool,
    /// Long enough to be read in an answer.
    readable: bool,
}

impl Name {
    /// Whether an answer with this word names the food, whatever else it contains.
    fn is_declared(&self) -> bool {
        !self.terms.is_empty() && (self.core || self.sure || (self.readable && !self.ordinary))
    }
}

struct Names {
    by_name: FxHashMap<String, Name>,
    /// The length in words of the longest name that starts with a word.
    firsts: FxHashMap<String, usize>,
    heads: Vec<&'static str>,
    tails: Vec<&'static str>,
}

/// Names found anywhere in a word, by an automaton.
struct Finder {
    automaton: Option<AhoCorasick>,
    names: Vec<&'static Name>,
}

static NAMES: LazyLock<Names> = LazyLock::new(load);

/// The meaning of the words that start at the first of `words`, and their number, exactly
/// as in the tables. Several words that only look like a food mean nothing.
pub(super) fn longest(words: &[Option<&str>]) -> Option<(Meaning, usize)> {
    let known = |name: &Name, phrase: &str| {
        name.is_declared() || (name.terms.is_empty() && phrase.contains(' '))
    };
    let (name, length) = longest_name(words, known)?;
    Some((Meaning { terms: name.declared.clone(), languages: name.languages }, length))
}

/// The longest matching name that starts with the first of `words`.
pub(super) fn longest_name(
    words: &[Option<&str>],
    passes: impl Fn(&Name, &str) -> bool,
) -> Option<(&'static Name, usize)> {
    let first = (*words.first()?)?;
    let most = *NAMES.firsts.get(first)?;
    let most = words.iter().take(most).take_while(|word| word.is_some()).count();
    (1..=most).rev().find_map(|length| {
        let phrase: Cow<'_, str> = match length {
            1 => first.into(),
            _ => words[..length].iter().copied().flatten().collect::<Vec<_>>().join(" ").into(),
        };
        let name = NAMES.by_name.get(&*phrase)?;
        passes(name, &phrase).then_some((name, length))
    })
}

/// Whether a word is a name in any language.
pub(super) fn is_name(word: &str) -> bool {
    NAMES.by_name.contains_key(word)
}

/// The meaning of a word that the tables do not have in this form: a compound
/// ("Nussallergie", "glutenfrei"), or a word of a script without spaces.
pub(super) fn compound(word: &str) -> Option<Meaning> {
    if word.len() > MOST_BYTES || is_harmless(word) {
        return None;
    }
    Meaning::of(unspaced_names(word).into_iter().map(|(_, name)| name))
        .or_else(|| stripped(word).find_map(declared))
        .or_else(|| Meaning::of(freed(word)))
        .or_else(|| tailed(word))
        .or_else(|| headed(word))
}

/// The meaning of an inflected or misspelt form of a name.
pub(super) fn similar(word: &str) -> Option<Meaning> {
    if word.len() > MOST_BYTES || is_harmless(word) {
        return None;
    }
    let forms = declared_form(word).or_else(|| stripped(word).find_map(declared_form));
    forms.or_else(|| misspelt(word))
}

/// Whether a word only looks like a food with an allergen.
fn is_harmless(word: &str) -> bool {
    NAMES.by_name.get(word).is_some_and(|name| name.terms.is_empty())
}

fn declared(word: &str) -> Option<Meaning> {
    Meaning::of(NAMES.by_name.get(word).filter(|name| name.is_declared()))
}

/// What a word says to be absent: "laktosefrei", "bezlepkový", "sütsüz".
pub(super) fn freed(word: &str) -> Option<&'static Name> {
    // By the letter that they share with a word, because every word of a plan is tried.
    static AFTER: LazyLock<ByLetter> = LazyLock::new(|| by_letter(&FREE_AFTER, |end| end.last()));
    static BEFORE: LazyLock<ByLetter> =
        LazyLock::new(|| by_letter(&FREE_BEFORE, |mut start| start.next()));
    let of = |list: &'static ByLetter, letter: Option<char>| {
        letter.and_then(|letter| list.get(&letter)).into_iter().flatten()
    };
    let first = of(&AFTER, word.chars().next_back());
    let first = first.filter_map(|end| word.strip_suffix(end.as_str()));
    let second = of(&BEFORE, word.chars().next());
    let second = second.filter_map(|start| word.strip_prefix(start.as_str()));
    first.chain(second).find_map(|stem| {
        JOINTS.iter().find_map(|joint| {
            let stem = stem.strip_suffix(joint).filter(|stem| stem.chars().count() >= 3)?;
            let exact = NAMES.by_name.get(stem).filter(|name| name.is_declared());
            exact.or_else(|| inflected(stem).first().copied())
        })
    })
}

type ByLetter = FxHashMap<char, Vec<String>>;

fn by_letter(words: &[&str], letter: fn(std::str::Chars<'_>) -> Option<char>) -> ByLetter {
    let mut by_letter = ByLetter::default();
    for word in plain_list(words) {
        if let Some(letter) = letter(word.chars()) {
            by_letter.entry(letter).or_default().push(word);
        }
    }
    by_letter
}

/// Words in plain letters, like those of a text.
pub(super) fn plain_list(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| token::plain(word)).collect()
}

/// The names in a word of a script without spaces, each with its place.
pub(super) fn unspaced_names(word: &str) -> Vec<(std::ops::Range<usize>, &'static Name)> {
    static FINDER: LazyLock<Finder> = LazyLock::new(|| {
        // One syllable of Hangul is a particle as often as a word.
        let fits = |name: &str| name.chars().any(is_unspaced) && syllables(name) != Some(1);
        finder(MatchKind::LeftmostLongest, fits)
    });
    if !word.chars().any(is_unspaced) {
        return Vec::new();
    }
    let found = FINDER.automaton.iter().flat_map(|automaton| automaton.find_iter(word));
    let mut names: Vec<_> = found
        .filter(|found| !word[found.end()..].starts_with(is_final_consonant))
        .map(|found| (found.range(), FINDER.names[found.pattern().as_usize()]))
        .collect();
    if names.is_empty() {
        names.extend(without_particle(word));
    }
    names
}

/// The single-word names at the start or end of a word, each with its place.
pub(super) fn affixed_names(
    word: &str,
) -> impl Iterator<Item = (std::ops::Range<usize>, &'static Name)> {
    static FINDER: LazyLock<Finder> = LazyLock::new(|| {
        finder(MatchKind::Standard, |name| {
            name.chars().count() >= MIN_STEM
                && !name.contains(' ')
                && !name.chars().any(is_unspaced)
        })
    });
    let found =
        FINDER.automaton.iter().flat_map(move |automaton| automaton.find_overlapping_iter(word));
    found.map(|found| (found.range(), FINDER.names[found.pattern().as_usize()]))
}

/// "밀을": a name of one syllable before a particle.
fn without_particle(word: &str) -> Option<(std::ops::Range<usize>, &'static Name)> {
    static PARTICLES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let particles = "은 는 이 가 을 를 과 와 도 랑 이랑 만 에 의 류 하고";
        particles.split(' ').map(token::plain).collect()
    });
    let stem = PARTICLES.iter().find_map(|particle| word.strip_suffix(particle.as_str()))?;
    let name = NAMES.by_name.get(stem).filter(|_| syllables(stem).is_some())?;
    Some((0..stem.len(), name))
}

fn finder(kind: MatchKind, fits: impl Fn(&str) -> bool) -> Finder {
    let fitting = NAMES.by_name.iter().filter(|(name, _)| fits(name));
    let (patterns, names): (Vec<&str>, Vec<&'static Name>) =
        fitting.map(|(name, all)| (name.as_str(), all)).unzip();
    Finder { automaton: AhoCorasick::builder().match_kind(kind).build(patterns).ok(), names }
}

/// A word without the particles that some scripts join to it: "والحليب" (and the milk),
/// "לחלב" (to milk), "የእንቁላል" (of egg).
pub(super) fn stripped(word: &str) -> impl Iterator<Item = &str> {
    const ARABIC: [&str; 11] = ["وال", "بال", "كال", "فال", "لل", "ال", "و", "ب", "ل", "ف", "ك"];
    const HEBREW: [&str; 11] = ["וה", "של", "מה", "בה", "ו", "ה", "ב", "ל", "מ", "ש", "כ"];
    const ETHIOPIC: [&str; 4] = ["የ", "በ", "ለ", "ከ"];
    let prefixes: &[&str] = match word.chars().next() {
        Some('\u{600}'..='\u{6ff}') => &ARABIC,
        Some('\u{590}'..='\u{5ff}') => &HEBREW,
        Some('\u{1200}'..='\u{137f}') => &ETHIOPIC,
        _ => &[],
    };
    let rests = prefixes.iter().filter_map(move |prefix| word.strip_prefix(prefix));
    rests.filter(|rest| rest.chars().count() >= 2)
}

fn tailed(word: &str) -> Option<Meaning> {
    NAMES.tails.iter().find_map(|tail| {
        let first = word.strip_suffix(tail).filter(|first| !first.is_empty())?;
        // "koemelk eiwit allergie"
        JOINTS.iter().find_map(|joint| part(first.strip_suffix(joint)?)).or_else(|| tailed(first))
    })
}

fn headed(word: &str) -> Option<Meaning> {
    let known = NAMES.heads.iter().find_map(|head| part(word.strip_prefix(head)?));
    known.or_else(|| {
        let starts = word.char_indices().map(|(at, _)| at).filter(|at| *at >= 3);
        starts.filter(|at| word[*at..].chars().count() > MIN_STEM).find_map(|at| core(&word[at..]))
    })
}

/// The letters that join the parts of a compound.
const JOINTS: [&str; 9] = ["", "s", "n", "en", "e", "er", "es", "o", "i"];

fn part(word: &str) -> Option<Meaning> {
    // "not" is Swedish for nut without its dots, and not a food elsewhere.
    let word = if word == "not" { "notter" } else { word };
    if word.chars().count() < 2 || is_harmless(word) {
        return None;
    }
    core(word).or_else(|| {
        let long = word.chars().count() >= MIN_STEM;
        long.then(|| declared(word).or_else(|| declared_form(word))).flatten()
    })
}

fn core(word: &str) -> Option<Meaning> {
    Meaning::of(NAMES.by_name.get(word).filter(|name| name.core))
}

fn declared_form(word: &str) -> Option<Meaning> {
    Meaning::of(inflected(word).iter().copied().filter(|name| name.is_declared()))
}

/// The names that a word is a form of.
pub(super) fn inflected(word: &str) -> &'static [&'static Name] {
    let letters = word.chars().count();
    let (least, most) =
        if is_dense(word) { (MIN_DENSE_STEM, MAX_ENDING / 2) } else { (MIN_STEM, MAX_ENDING) };
    // The longest common stem decides.
    let lengths = least.max(letters.saturating_sub(most))..=letters;
    let ends = std::iter::once(word.len()).chain(word.char_indices().rev().map(|(at, _)| at));
    ends.take(lengths.count()).find_map(|end| STEMS.get(&word[..end])).map_or(&[], Vec::as_slice)
}

fn misspelt(word: &str) -> Option<Meaning> {
    let limit = match word.chars().count() {
        0..=4 => return None,
        5..=8 => 1,
        9..=24 => 2,
        _ => return None,
    };
    let (_, name) = MISSPELLINGS
        .near(word, word.chars().next()?, limit)
        .map(|(edits, name, ())| (edits, name))
        .min()?;
    core(name)
}

static MISSPELLINGS: LazyLock<Misspellings<()>> = LazyLock::new(|| {
    let mut names = Misspellings::default();
    let core = NAMES.by_name.iter().filter(|(name, own)| own.core && !name.contains(' '));
    core.for_each(|(name, _)| names.add(name, ()));
    names
});

/// Single-word names without their ending, if the rest is long enough.
static STEMS: LazyLock<FxHashMap<String, Vec<&'static Name>>> = LazyLock::new(|| {
    let mut stems: FxHashMap<String, Vec<&'static Name>> = FxHashMap::default();
    for (name, own) in NAMES.by_name.iter().filter(|(name, _)| !name.contains(' ')) {
        let stem = stem(name);
        let least = match (is_dense(name), own.core) {
            (true, _) => MIN_DENSE_STEM,
            (false, true) => MIN_STEM,
            (false, false) => MIN_SURE,
        };
        if stem.chars().count() >= least {
            stems.entry(stem.to_owned()).or_default().push(own);
        }
    }
    stems
});

/// The name without its last vowels and signs of softness, at most two.
fn stem(name: &str) -> &str {
    if is_dense(name) {
        return name;
    }
    let is_ending = |c: char| "aeiouyийыьяюaeoyёηαοιυ".contains(c);
    let once = name.strip_suffix(is_ending).unwrap_or(name);
    once.strip_suffix(is_ending).unwrap_or(once)
}

/// Whether a word's script has few letters per word.
fn is_dense(word: &str) -> bool {
    word.chars().any(|c| c >= '\u{590}')
}

pub(super) fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{e7f}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}' | '\u{1100}'..='\u{11ff}' | '\u{1780}'..='\u{17ff}')
}

/// The number of syllables of a word in Hangul, which is decomposed into letters.
fn syllables(word: &str) -> Option<usize> {
    let first = |c: &char| ('\u{1100}'..='\u{1112}').contains(c);
    let count = word.chars().filter(first).count();
    (count > 0).then_some(count)
}

fn is_final_consonant(c: char) -> bool {
    ('\u{11a8}'..='\u{11c2}').contains(&c)
}

fn load() -> Names {
    let mut by_name: FxHashMap<String, Name> = FxHashMap::default();
    for line in EU_NAMES.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [key, _, locale, name] = *fields else { continue };
        let Some((_, term)) = KEYS.iter().find(|(known, _)| *known == key) else { continue };
        // "Milk (lactose included)" says more about milk; other brackets and
        // slashes hold a second name.
        let names = name.split(['(', ')', '/', ',', '、', '（', '）']);
        for name in names.take(if key == "MILK" { 1 } else { usize::MAX }) {
            let terms = terms(term);
            enter(&mut by_name, name, [&terms, &terms], Languages::of(locale), true);
        }
    }
    for line in OTHER_NAMES.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let Some((term, names)) = line.split_once('=') else { continue };
        for name in names.split(',') {
            let terms = terms(term);
            enter(&mut by_name, name, [&terms, &terms], Languages::default(), true);
        }
    }
    let mut locale = "";
    for line in BY_LANGUAGE.lines().filter(|line| !line.starts_with('#')) {
        if let Some(tag) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            locale = tag;
        }
        let Some((term, names)) = line.split_once('=') else { continue };
        let (term, declared) = term.split_once('(').unwrap_or((term, term));
        let meanings = [terms(term), terms(declared.trim_end().trim_end_matches(')'))];
        for name in names.split(',') {
            for name in [name.to_owned(), spelt_out(name, locale)] {
                let [plan, answer] = &meanings;
                enter(&mut by_name, &name, [plan, answer], Languages::of(locale), false);
            }
        }
    }
    by_name.remove("");
    let mut firsts = FxHashMap::default();
    for name in by_name.keys() {
        let words = name.split(' ').count().min(MOST_WORDS);
        let first = name.split(' ').next().unwrap_or_default();
        let most = firsts.entry(first.to_owned()).or_insert(words);
        *most = words.max(*most);
    }
    let section = |title: &str| {
        let lines = PARTS.lines().filter_map(|line| line.strip_prefix(title));
        let mut parts: Vec<_> = lines.flat_map(str::split_whitespace).collect();
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        parts
    };
    Names { heads: section("before:"), tails: section("after:"), by_name, firsts }
}

fn enter(
    names: &mut FxHashMap<String, Name>,
    written: &str,
    [terms, declared]: [&Terms; 2],
    languages: Languages,
    core: bool,
) {
    static ORDINARY_WORDS: LazyLock<FxHashSet<&str>> = LazyLock::new(|| {
        let lines = ORDINARY.lines().filter(|line| !line.starts_with('#'));
        lines.flat_map(str::split_whitespace).collect()
    });
    let (written, listed) = match written.trim().strip_prefix('~') {
        Some(written) => (written, true),
        None => (written.trim(), false),
    };
    let plain = token::plain(written);
    let new = !names.contains_key(&plain);
    let ordinary = ORDINARY_WORDS.contains(plain.as_str());
    let foreign = written.chars().any(|c| c.is_alphabetic() && c > '\u{24f}' && !is_latin(c));
    let letters = plain.chars().count();
    let long = letters >= MIN_SURE || plain.contains(' ');
    let name = names.entry(plain).or_default();
    name.languages = name.languages.or(languages);
    name.listed = listed && (new || name.listed);
    name.ordinary = ordinary;
    name.sure |= (foreign || long) && !ordinary;
    name.core |= core;
    name.readable |= letters >= MIN_STEM;
    add(&mut name.terms, terms);
    add(&mut name.declared, declared);
}

/// Latin letters with the marks of Vietnamese and the like.
fn is_latin(c: char) -> bool {
    matches!(c, '\u{1e00}'..='\u{1eff}' | '\u{300}'..='\u{36f}' | '\u{2019}' | '\u{2bc}')
}

/// A name without letters that other keyboards lack: "Kaese", "naering".
fn spelt_out(name: &str, locale: &str) -> String {
    let pairs: &[(&str, &str)] = match locale {
        "de" => &[("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("Ä", "Ae"), ("Ö", "Oe"), ("Ü", "Ue")],
        "da" | "no" | "sv" => &[("å", "aa"), ("ø", "oe"), ("ö", "oe"), ("ä", "ae"), ("Å", "Aa")],
        _ => &[],
    };
    pairs.iter().fold(name.to_owned(), |name, (letter, plain)| name.replace(letter, plain))
}

/// The terms of the food tables in a list joined by `&`; none for `-`.
fn terms(list: &str) -> Terms {
    let term = |term: &str| {
        let words = token::plain(term);
        let ids: Vec<_> = words.split(' ').map(|word| foods().word(word)).collect();
        foods().longest(&ids).filter(|(_, length)| *length == ids.len()).map(|(entry, _)| entry)
    };
    list.split('&').filter_map(term).collect()
}

/// Adds terms that are not there yet.
pub(super) fn add(all: &mut Terms, terms: &[&'static Entry]) {
    for term in terms {
        if !all.iter().any(|own| own.term == term.term) {
            all.push(term);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_for_a_term_of_the_tables() {
        for (key, term) in KEYS {
            assert_eq!(terms(term).len(), 1, "{key}: {term}");
        }
        let is_name = |line: &&str| !line.starts_with(['#', '-', '[']) && line.contains('=');
        for line in OTHER_NAMES.lines().chain(BY_LANGUAGE.lines()).filter(is_name) {
            let (left, _) = line.split_once('=').unwrap();
            for term in left.split('(').map(|term| term.trim_end().trim_end_matches(')')) {
                let expected = term.split('&').count();
                assert_eq!(terms(term).len(), expected, "{term:?} is no term of the food tables");
            }
        }
        assert!(NAMES.by_name.len() > 5_000);
    }

    #[test]
    fn every_language_of_the_tables_is_known() {
        let locales = EU_NAMES.lines().filter_map(|line| line.split('\t').nth(2));
        let sections = BY_LANGUAGE.lines().filter_map(|line| line.strip_prefix('['));
        let sections = sections.filter_map(|line| line.strip_suffix(']'));
        for locale in locales.filter(|locale| *locale != "locale").chain(sections) {
            assert!(!Languages::of(locale).is_empty(), "{locale}");
        }
    }
}
