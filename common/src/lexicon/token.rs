//! Cuts text into words and breaks, so that spelling, accents, case, hyphens,
//! invisible characters and look-alike letters make no difference to a match.

use unicode_normalization::char::decompose_compatible;

/// The kind of a piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A word in its plain form: lower case, no accents, no apostrophes.
    Word(String),
    /// A comma, slash, plus, colon or dash: the next item of a list.
    Comma,
    /// A bracket.
    Bracket,
    /// The end of a sentence or line.
    Stop,
}

/// A piece and its place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its kind.
    pub piece: Piece,
    /// Byte offset of its start.
    pub start: usize,
    /// Byte offset of its end.
    pub end: usize,
    /// A word that ends in a hyphen before a space, as in "dairy- and egg-free".
    pub suspended: bool,
}

impl Token {
    /// The plain word, if it is one.
    pub fn word(&self) -> Option<&str> {
        match &self.piece {
            Piece::Word(word) => Some(word),
            Piece::Comma | Piece::Bracket | Piece::Stop => None,
        }
    }
}

/// All pieces of `text` in order.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut reader = Reader { out: Vec::new(), word: String::new(), start: 0 };
    let mut chars = text.char_indices().peekable();
    let mut previous = ' ';
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map_or(' ', |(_, next)| *next);
        if is_dot_in_number(previous, c, next) {
            reader.end_word(at);
        } else if let Some(piece) = break_of(c) {
            reader.end_word(at);
            reader.push(piece, at, at + c.len_utf8());
        } else if c == '&' {
            reader.end_word(at);
            reader.push(Piece::Word("and".to_owned()), at, at + 1);
        } else if is_hyphen(c) {
            reader.end_word(at);
            if previous.is_whitespace() && next.is_whitespace() {
                reader.push(Piece::Comma, at, at + c.len_utf8());
            } else {
                reader.suspend(at, next);
            }
        } else if !is_invisible(c) && !reader.extend(c, at) {
            reader.end_word(at);
        }
        previous = c;
    }
    reader.end_word(text.len());
    reader.out
}

/// The plain form of a text's words, single-spaced.
pub fn plain(text: &str) -> String {
    let words: Vec<_> =
        tokens(text).into_iter().filter_map(|t| t.word().map(str::to_owned)).collect();
    words.join(" ")
}

struct Reader {
    out: Vec<Token>,
    word: String,
    start: usize,
}

impl Reader {
    fn push(&mut self, piece: Piece, start: usize, end: usize) {
        self.out.push(Token { piece, start, end, suspended: false });
    }

    fn end_word(&mut self, at: usize) {
        if !self.word.is_empty() {
            let word = std::mem::take(&mut self.word);
            self.push(Piece::Word(word), self.start, at);
        }
    }

    fn suspend(&mut self, at: usize, next: char) {
        if let Some(last) = self.out.last_mut()
            && next.is_whitespace()
            && last.end == at
        {
            last.suspended = true;
        }
    }

    /// Adds a letter or digit; false for anything else.
    fn extend(&mut self, c: char, at: usize) -> bool {
        let before = self.word.len();
        let was_mark = push_plain(&mut self.word, c);
        if before == 0 && !self.word.is_empty() {
            self.start = at;
        }
        was_mark || self.word.len() > before
    }
}

/// Appends the plain form of `c`; true when it only decorates a letter.
fn push_plain(word: &mut String, c: char) -> bool {
    if c.is_ascii_alphanumeric() {
        word.push(c.to_ascii_lowercase());
        return false;
    }
    if matches!(c, '\'' | '’' | '‘' | 'ʼ' | '´' | '`') {
        return true;
    }
    let mut mark = false;
    for lower in c.to_lowercase() {
        decompose_compatible(lower, |part| match look_alike(part) {
            Some(plain) => word.push_str(plain),
            None if is_arabic_point(part) => mark = true,
            None if is_voicing(part) => word.push(part),
            None if part.is_alphanumeric() => word.extend(part.to_lowercase()),
            None => mark |= is_combining(part),
        });
    }
    mark
}

/// Letters that decomposition does not change, and foreign letters that look like Latin
/// ones: a plan must not hide a word behind them.
fn look_alike(c: char) -> Option<&'static str> {
    Some(match c {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' | 'о' | 'ο' => "o",
        'ł' => "l",
        'đ' | 'ð' | 'ԁ' => "d",
        'ı' | 'і' | 'ι' => "i",
        'а' | 'α' => "a",
        'е' | 'ё' => "e",
        'р' | 'ρ' => "p",
        'с' => "c",
        'у' => "y",
        'х' | 'χ' => "x",
        'ѕ' => "s",
        'ј' => "j",
        'һ' => "h",
        'ν' => "v",
        'т' | 'τ' => "t",
        'к' | 'κ' => "k",
        'м' => "m",
        'н' => "h",
        _ => return None,
    })
}

/// The marks that distinguish が from か: another letter, not an accent.
fn is_voicing(c: char) -> bool {
    matches!(c, '\u{3099}' | '\u{309a}')
}

/// Vowel points and the hamza above a letter, which people leave out.
fn is_arabic_point(c: char) -> bool {
    matches!(c, '\u{64b}'..='\u{65f}' | '\u{670}')
}

fn is_combining(c: char) -> bool {
    unicode_normalization::char::is_combining_mark(c)
}

/// Soft hyphen, zero-width and direction characters.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn is_hyphen(c: char) -> bool {
    matches!(c, '-' | '‐' | '‑' | '_')
}

fn is_dot_in_number(previous: char, c: char, next: char) -> bool {
    matches!(c, '.' | ',') && previous.is_ascii_digit() && next.is_ascii_digit()
}

fn break_of(c: char) -> Option<Piece> {
    match c {
        ',' | '/' | '+' | '|' | ':' | '–' | '—' | '、' | '，' => Some(Piece::Comma),
        '(' | ')' | '[' | ']' | '{' | '}' | '"' | '“' | '”' | '«' | '»' => {
            Some(Piece::Bracket)
        }
        '.' | '!' | '?' | ';' | '\n' | '\r' | '•' | '…' | '。' | '；' => Some(Piece::Stop),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_differences_vanish() {
        for (text, expected) in [
            ("Crème Fraîche", "creme fraiche"),
            ("PEA\u{200b}NUT\u{ad}s", "peanuts"),
            ("Ｐｅａｎｕｔ", "peanut"),
            ("реаnut", "peanut"),
            ("Reese's peanut-butter", "reeses peanut butter"),
            ("Nüsse, Weißbrot", "nusse weissbrot"),
            ("cre\u{300}me", "creme"),
            ("1.5 cups", "1 5 cups"),
            ("salt & pepper", "salt and pepper"),
        ] {
            assert_eq!(plain(text), expected, "{text}");
        }
    }

    #[test]
    fn breaks_and_offsets_are_kept() {
        let text = "Oats (dairy- and gluten-free), 50 g. Done";
        let found = tokens(text);
        let pieces: Vec<_> = found.iter().map(|t| &text[t.start..t.end]).collect();
        assert_eq!(
            pieces,
            ["Oats", "(", "dairy", "and", "gluten", "free", ")", ",", "50", "g", ".", "Done"]
        );
        assert!(found[2].suspended && !found[4].suspended);
    }
}
