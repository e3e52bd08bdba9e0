//! Splits text with numbers, units and marks into tokens, in any script and
//! typography.
//!
//! Nothing is guessed: an unknown word or sign makes the text invalid, because
//! it may change the meaning ("under 80 kg").

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::words::{Unit, Word, meaning};

/// The longest text of an amount.
const MAX_CHARS: usize = 100;
/// Longer digit strings are not human measures.
const MAX_DIGITS: usize = 32;
/// No amount in any of the units is this large.
const MAX_AMOUNT: f64 = 1e6;

/// Escapes of web forms, and an abbreviation with a slash in it.
const SPELLINGS: &[(&str, &str)] = &[
    ("&quot;", "\""),
    ("&#34;", "\""),
    ("&#39;", "'"),
    ("&apos;", "'"),
    ("&nbsp;", " "),
    ("y/o", "yo"),
    ("سانتی متر", "سانتیمتر"),
];

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token {
    /// A number.
    Number(Number),
    /// A unit: a word (several meanings are possible), or a foot or inch mark.
    Unit { units: &'static [Unit], mark: bool },
    /// "and", "+": the next part adds to this one.
    Join,
    /// A dash or "to": between feet and inches, or from one amount to another.
    Dash,
    /// A comma, colon or the like.
    Separator,
    /// A bracket, slash, equals sign or "or": a separate amount follows.
    Break,
}

/// A number as written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Number {
    /// Its value, with the last mark as the decimal one.
    pub(super) value: f64,
    /// Its value if the mark separates thousands: `1.750`.
    pub(super) thousands: Option<f64>,
    /// The number of digits before the mark.
    pub(super) digits: usize,
    /// The number of digits after the mark.
    pub(super) decimals: usize,
    /// The digits after the mark as a number: 9 of `5.9`.
    pub(super) after_mark: Option<u32>,
}

impl Number {
    /// Whether it has no fraction.
    pub(super) fn is_whole(&self) -> bool {
        self.value.fract() == 0.0
    }

    /// One step of the last digit.
    pub(super) fn step(&self) -> f64 {
        if self.value.fract() != 0.0 && self.decimals == 0 {
            return 0.1; // A fraction such as ½.
        }
        10_f64.powi(-i32::try_from(self.decimals).unwrap_or(0))
    }

    fn whole(value: f64, digits: usize) -> Self {
        Self { value, thousands: None, digits, decimals: 0, after_mark: None }
    }
}

/// Why a text has no tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// An unknown word or sign, or an invalid number.
    Unknown,
    /// A number below zero.
    Negative,
    /// A number too large for a human measure.
    TooLarge,
}

/// The tokens of a text.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Unreadable> {
    if text.len() > 4 * MAX_CHARS || text.chars().count() > MAX_CHARS {
        return Err(Unreadable::Unknown);
    }
    let mut spelled = Cow::Borrowed(text);
    for (written, meant) in SPELLINGS {
        if spelled.contains(written) {
            spelled = Cow::Owned(spelled.replace(written, meant));
        }
    }
    let text = folded(&spelled);
    let mut lexer = Lexer { chars: text.trim().chars().collect(), at: 0, parts: Vec::new() };
    while lexer.at < lexer.chars.len() {
        lexer.step()?;
    }
    spelled_out(lexer.parts)
}

/// Normalised text: lower case without accents, one kind of space, dash and quotation
/// mark, digits and fractions in ASCII, no invisible characters.
pub(super) fn folded(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // Most texts are nothing else.
            _ if c.is_ascii_alphanumeric() => plain.push(c.to_ascii_lowercase()),
            _ if is_invisible(c) => {}
            '\'' | '’' | '‘' | '‛' | '′' | '‵' | '´' | '`' | 'ʹ' | 'ʼ' | 'ˈ' | '＇' | '׳' => {
                plain.push('\'')
            }
            '"' | '“' | '”' | '„' | '‟' | '″' | '‶' | '˝' | 'ʺ' | '＂' | '〃' | '״' => {
                plain.push('"')
            }
            '-' | '‐' | '‑' | '‒' | '–' | '—' | '―' | '−' | '－' => plain.push('-'),
            '·' | '٫' | '・' => plain.push('.'),
            '٬' | '،' | '、' => plain.push(','),
            'ß' => plain.push_str("ss"),
            'ı' => plain.push('i'),
            _ if c.is_whitespace() => plain.push(' '),
            _ if c.is_ascii() => plain.push(c),
            _ => match digit(c) {
                Some(digit) => plain.push(digit),
                None => push_folded(c, &mut plain),
            },
        }
    }
    if plain.contains("''") { plain.replace("''", "\"") } else { plain }
}

fn push_folded(c: char, plain: &mut String) {
    let parts: String = std::iter::once(c).nfkc().flat_map(char::to_lowercase).nfkd().collect();
    // ½ is "1⁄2"; after a number it is a token of its own.
    if parts.contains('⁄') && c != '⁄' {
        plain.push(' ');
    }
    let kept = parts.chars().filter(|part| !('\u{300}'..='\u{36f}').contains(part));
    plain.extend(kept.map(|part| if part == '⁄' { '/' } else { part }));
}

/// Direction marks, joiners and the like, which come with copied text.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{640}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\\')
}

/// A decimal digit of another script as the ASCII one.
fn digit(c: char) -> Option<char> {
    /// The zeros of the supported scripts; nine more digits follow each.
    const ZEROS: [u32; 18] = [
        0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xe50,
        0xed0, 0xf20, 0x1040, 0x17e0, 0xff10,
    ];
    let value = ZEROS.iter().find_map(|zero| u32::from(c).checked_sub(*zero).filter(|n| *n < 10));
    value.and_then(|value| char::from_digit(value, 10))
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    parts: Vec<Part>,
}

/// A token, or a word that becomes one with its neighbours.
#[derive(Debug, Clone, Copy)]
enum Part {
    Token(Token),
    Word(Word),
    /// A fraction: `1/2`.
    Fraction(f64),
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn is_digit(&self, ahead: usize) -> bool {
        self.peek(ahead).is_some_and(|c| c.is_ascii_digit())
    }

    fn step(&mut self) -> Result<(), Unreadable> {
        let Some(c) = self.peek(0) else { return Ok(()) };
        if c.is_ascii_digit() || (c == '.' && self.parts.is_empty() && self.is_digit(1)) {
            return self.number();
        }
        if is_letter(c) {
            return self.word();
        }
        let token = match c {
            '\'' => Token::Unit { units: &[Unit::Foot], mark: true },
            '"' => Token::Unit { units: &[Unit::Inch], mark: true },
            '#' => Token::Unit { units: &[Unit::Lb], mark: false },
            '%' | '٪' => Token::Unit { units: &[Unit::Percent], mark: false },
            '-' if self.parts.is_empty() && self.is_digit(1) => return Err(Unreadable::Negative),
            '-' => Token::Dash,
            '~' | '≈' | '≃' if !self.parts.is_empty() => Token::Dash,
            '+' | '&' if !self.parts.is_empty() => Token::Join,
            ',' | ';' | ':' | '_' => Token::Separator,
            '(' | ')' | '[' | ']' | '/' | '|' | '=' => Token::Break,
            ' ' | '~' | '≈' | '≃' | '+' => return self.skip(1),
            // At the end of a sentence, not in "5. 10".
            '.' if self.peek(1).is_none_or(|next| next == ' ') && !self.is_digit(2) => {
                return self.skip(1);
            }
            _ => return Err(Unreadable::Unknown),
        };
        self.parts.push(Part::Token(token));
        self.skip(1)
    }

    fn skip(&mut self, count: usize) -> Result<(), Unreadable> {
        self.at += count;
        Ok(())
    }

    fn digits(&mut self) -> String {
        let digits: String =
            self.chars[self.at..].iter().take_while(|c| c.is_ascii_digit()).collect();
        self.at += digits.len();
        digits
    }

    fn number(&mut self) -> Result<(), Unreadable> {
        let mut groups = vec![self.digits()];
        let mut marks = Vec::new();
        while let Some(mark @ ('.' | ',')) = self.peek(0) {
            if !self.is_digit(1) {
                break;
            }
            self.at += 1;
            marks.push(mark);
            groups.push(self.digits());
        }
        if groups.iter().map(String::len).sum::<usize>() > MAX_DIGITS {
            return Err(Unreadable::Unknown);
        }
        if let Some(fraction) = self.fraction(&groups) {
            self.parts.push(Part::Fraction(fraction));
            return Ok(());
        }
        let mut number = of_groups(&groups, &marks)?;
        self.exponent(&mut number)?;
        if number.value > MAX_AMOUNT {
            return Err(Unreadable::TooLarge);
        }
        self.parts.push(Part::Token(Token::Number(number)));
        Ok(())
    }

    /// `1/2` and the like after the 1. Other quotients ("7/10") are not fractions.
    fn fraction(&mut self, groups: &[String]) -> Option<f64> {
        let [above] = groups else { return None };
        let above: u32 = above.parse().ok()?;
        if self.peek(0) != Some('/') || !self.is_digit(1) {
            return None;
        }
        let start = self.at;
        self.at += 1;
        let below: u32 = self.digits().parse().ok()?;
        let is_fraction = matches!(below, 2 | 3 | 4 | 8 | 16) && (1..below).contains(&above);
        if !is_fraction {
            self.at = start;
            return None;
        }
        Some(f64::from(above) / f64::from(below))
    }

    /// `e2` directly after a number: what spreadsheets make of 100.
    fn exponent(&mut self, number: &mut Number) -> Result<(), Unreadable> {
        let sign = usize::from(matches!(self.peek(1), Some('+' | '-')));
        if self.peek(0) != Some('e') || !self.is_digit(1 + sign) {
            return Ok(());
        }
        let negative = self.peek(1) == Some('-');
        self.at += 1 + sign;
        let power: i32 = self.digits().parse().map_err(|_| Unreadable::TooLarge)?;
        if power > 20 {
            return Err(if negative { Unreadable::Unknown } else { Unreadable::TooLarge });
        }
        let power = if negative { -power } else { power };
        *number = Number::whole(number.value * 10_f64.powi(power), 0);
        Ok(())
    }

    /// Letters up to another character. Marks inside a word belong to it: c.m., ס"מ.
    fn word(&mut self) -> Result<(), Unreadable> {
        let follows_digit = self.at > 0 && self.chars[self.at - 1].is_ascii_digit();
        let mut word = String::new();
        while let Some(c) = self.peek(0) {
            let inside = matches!(c, '.' | '\'' | '"') && self.peek(1).is_some_and(is_letter);
            if is_letter(c) {
                word.push(c);
            } else if !inside {
                break;
            }
            self.at += 1;
        }
        // Of an abbreviation: "ft. 10", מ'.
        if matches!(self.peek(0), Some('.' | '\'' | '"')) {
            self.at += 1;
        }
        if word == "y" && follows_digit {
            word = "yr".to_owned();
        }
        for known in known_words(&word)? {
            self.parts.push(Part::Word(known));
        }
        Ok(())
    }
}

fn is_letter(c: char) -> bool {
    !c.is_ascii_digit() && (c.is_alphabetic() || is_combining_mark(c))
}

/// A word, or two written as one: of different scripts ("cm左右"), or of a script without
/// spaces ("厘米左右").
fn known_words(word: &str) -> Result<Vec<Word>, Unreadable> {
    if let Some(known) = meaning(word) {
        return Ok(vec![known]);
    }
    let borders = word.char_indices().skip(1).map(|(border, _)| word.split_at(border));
    borders
        .filter(|(first, second)| !(first.is_ascii() && second.starts_with(|c: char| c.is_ascii())))
        .find_map(|(first, second)| Some(vec![meaning(first)?, meaning(second)?]))
        .ok_or(Unreadable::Unknown)
}

fn of_groups(groups: &[String], marks: &[char]) -> Result<Number, Unreadable> {
    let parse = |text: &str| text.parse::<f64>().map_err(|_| Unreadable::Unknown);
    match (groups, marks) {
        ([digits], []) => Ok(Number::whole(parse(digits)?, digits.len())),
        ([before, after], [_]) => {
            let thousands =
                after.len() == 3 && (1..=3).contains(&before.len()) && !before.starts_with('0');
            Ok(Number {
                value: parse(&format!("0{before}.{after}"))?,
                thousands: if thousands { Some(parse(&format!("{before}{after}"))?) } else { None },
                digits: before.len(),
                decimals: after.len(),
                after_mark: after.parse().ok(),
            })
        }
        ([first, middle @ .., last], [one, .., mark]) => {
            let thousands = marks[..marks.len() - 1].iter().all(|mark| mark == one);
            if !thousands || first.is_empty() || middle.iter().any(|group| group.len() != 3) {
                return Err(Unreadable::Unknown); // A date, a version.
            }
            let (digits, decimals) = if mark == one {
                (format!("{first}{}{last}", middle.concat()), String::new())
            } else {
                (format!("{first}{}", middle.concat()), last.clone())
            };
            if mark == one && last.len() != 3 {
                return Err(Unreadable::Unknown);
            }
            let value = parse(&format!("{digits}.{decimals}"))?;
            let (digits, decimals) = (digits.len(), decimals.len());
            Ok(Number { value, thousands: None, digits, decimals, after_mark: None })
        }
        _ => Err(Unreadable::Unknown),
    }
}

/// Turns words into tokens: number words are combined, and fractions are added to the
/// number before them ("10 1/2", "5 and a half").
fn spelled_out(parts: Vec<Part>) -> Result<Vec<Token>, Unreadable> {
    let mut tokens: Vec<Token> = Vec::with_capacity(parts.len());
    // Whether the last token is a number word that may continue.
    let mut counting = false;
    let mut parts = parts.into_iter().peekable();
    while let Some(part) = parts.next() {
        let mut counts = false;
        match part {
            Part::Token(token) => tokens.push(token),
            Part::Word(Word::Count(n)) => {
                counts = true;
                count(f64::from(n), counting, &mut tokens);
            }
            Part::Word(Word::Hundred) => {
                counts = true;
                match tokens.last_mut() {
                    Some(Token::Number(number)) if counting && number.value < 10.0 => {
                        number.value *= 100.0;
                        number.digits = 3;
                    }
                    _ => tokens.push(Token::Number(Number::whole(100.0, 3))),
                }
            }
            Part::Word(Word::Article) => match parts.peek() {
                Some(Part::Word(Word::Half | Word::Hundred)) => {}
                _ => return Err(Unreadable::Unknown),
            },
            Part::Word(Word::Half) => add_fraction(0.5, &mut tokens)?,
            Part::Fraction(fraction) => add_fraction(fraction, &mut tokens)?,
            Part::Word(Word::Join) => {
                // "a hundred and seventy".
                counts = counting
                    && matches!(tokens.last(), Some(Token::Number(n)) if n.value % 100.0 == 0.0)
                    && matches!(parts.peek(), Some(Part::Word(Word::Count(_))));
                if !counts && !tokens.is_empty() {
                    tokens.push(Token::Join);
                }
            }
            Part::Word(Word::Or) => tokens.push(Token::Break),
            Part::Word(Word::To) => tokens.push(Token::Dash),
            Part::Word(Word::Filler) => {}
            Part::Word(Word::Unit(units)) => tokens.push(Token::Unit { units, mark: false }),
        }
        counting = counts;
    }
    Ok(tokens)
}

/// "five" after "seventy" or "hundred" adds to it; after "six" it is a new number.
fn count(n: f64, counting: bool, tokens: &mut Vec<Token>) {
    // A dash as in "seventy-five".
    if let [.., Token::Number(number), Token::Dash] = tokens[..]
        && number.value % 10.0 == 0.0
        && (20.0..100.0).contains(&(number.value % 100.0))
        && (1.0..10.0).contains(&n)
    {
        tokens.pop();
        tokens.pop();
        tokens.push(Token::Number(Number::whole(number.value + n, number.digits)));
        return;
    }
    let new = Number::whole(n, if n < 10.0 { 1 } else { 2 });
    match tokens.last_mut() {
        Some(Token::Number(number)) if counting => {
            let tens = number.value % 100.0;
            let goes_on = (number.value >= 100.0 && tens == 0.0)
                || (tens >= 20.0 && tens % 10.0 == 0.0 && (1.0..10.0).contains(&n));
            if goes_on {
                number.value += n;
            } else {
                tokens.push(Token::Number(new));
            }
        }
        _ => tokens.push(Token::Number(new)),
    }
}

/// After a whole number with or without "and" or a dash, or alone. After a unit ("5 feet
/// and a half") it is refused as ambiguous.
fn add_fraction(fraction: f64, tokens: &mut Vec<Token>) -> Result<(), Unreadable> {
    if let [.., Token::Number(_), Token::Join | Token::Dash] = tokens[..] {
        tokens.pop();
    }
    match tokens.last_mut() {
        Some(Token::Number(number)) if number.is_whole() => {
            number.value += fraction;
            Ok(())
        }
        None => {
            tokens.push(Token::Number(Number::whole(fraction, 0)));
            Ok(())
        }
        _ => Err(Unreadable::Unknown),
    }
}
