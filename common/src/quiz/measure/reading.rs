//! The possible meanings of a sequence of numbers and units, and which one is
//! used.

use std::cmp::Ordering;

use super::super::tokens::{Number, Token, Unreadable, tokens};
use super::super::words::Unit;
use super::{Bounds, CM_PER_FOOT, CM_PER_INCH, LBS_PER_KG, LBS_PER_STONE, MeasureError};

/// One meaning: amounts in descending units of one kind.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::quiz) struct Reading {
    parts: Vec<(f64, Unit)>,
    /// The value of the last digit, in cm or kg.
    grain: f64,
}

/// Kinds of units; nothing converts between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Length,
    Weight,
    Other,
}

fn kind(unit: Unit) -> Kind {
    match unit {
        Unit::Mm | Unit::Cm | Unit::M | Unit::Inch | Unit::Foot => Kind::Length,
        Unit::G | Unit::Kg | Unit::Oz | Unit::Lb | Unit::Stone | Unit::HalfKilo | Unit::Catty => {
            Kind::Weight
        }
        Unit::Year | Unit::Percent => Kind::Other,
    }
}

/// An amount of a unit in cm or kg.
fn converted(amount: f64, unit: Unit) -> f64 {
    let exact = match unit {
        Unit::Mm => amount / 10.0,
        Unit::M => amount * 100.0,
        Unit::Inch => amount * CM_PER_INCH,
        Unit::Foot => amount * CM_PER_FOOT,
        Unit::G => amount / 1000.0,
        Unit::Oz => amount / 16.0 / LBS_PER_KG,
        Unit::Lb => return amount / LBS_PER_KG,
        Unit::Stone => return amount * LBS_PER_STONE / LBS_PER_KG,
        Unit::HalfKilo => amount * 0.5,
        Unit::Catty => amount * 0.6,
        Unit::Cm | Unit::Kg | Unit::Year | Unit::Percent => return amount,
    };
    // Rounded, because 1.1 m is 110 cm.
    rounded(exact, 1e6)
}

fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}

fn is_metric(unit: Unit) -> bool {
    !matches!(unit, Unit::Inch | Unit::Foot | Unit::Oz | Unit::Lb | Unit::Stone)
}

impl Reading {
    pub(super) fn of(parts: &[(f64, Unit)], step: f64) -> Self {
        let grain = parts.last().map_or(0.0, |(_, unit)| converted(step, *unit));
        Self { parts: parts.to_vec(), grain }
    }

    fn is_of(&self, unit: Unit) -> bool {
        self.parts.iter().all(|(_, own)| kind(*own) == kind(unit))
    }

    /// In cm or kg.
    pub(super) fn amount(&self) -> f64 {
        match (self.feet_and_inches(), self.pounds()) {
            (Some((feet, inches)), _) => feet * CM_PER_FOOT + inches * CM_PER_INCH,
            (_, Some(lbs)) => lbs / LBS_PER_KG,
            _ => rounded(self.parts.iter().map(|(n, unit)| converted(*n, *unit)).sum(), 1e6),
        }
    }

    /// As feet and inches, if it was written in them.
    pub(super) fn feet_and_inches(&self) -> Option<(f64, f64)> {
        match self.parts[..] {
            [(feet, Unit::Foot), (inches, Unit::Inch)] => Some((feet, inches)),
            [(feet, Unit::Foot)] if feet.fract() == 0.0 => Some((feet, 0.0)),
            [(feet, Unit::Foot)] => {
                // 5.83 ft means 5'10", to the precision of its digits.
                let (inches, step) = (feet * 12.0, self.grain / CM_PER_INCH);
                let near = (inches - inches.round()).abs() <= step / 2.0 + 1e-9;
                Some(split(if near { inches.round() } else { inches }))
            }
            [(inches, Unit::Inch)] => Some(split(inches)),
            _ => None,
        }
    }

    /// As pounds, if it was written in them or in stones.
    pub(super) fn pounds(&self) -> Option<f64> {
        let pounds = self.parts.iter().map(|(amount, unit)| match unit {
            Unit::Stone => Some(amount * LBS_PER_STONE),
            Unit::Lb => Some(*amount),
            Unit::Oz => Some(amount / 16.0),
            _ => None,
        });
        pounds.sum()
    }

    /// Lower is better: precise metric readings first, then by precision.
    fn rank(&self) -> (bool, f64) {
        let metric = self.parts.iter().all(|(_, unit)| is_metric(*unit));
        (!(metric && self.grain <= 1.0), self.grain)
    }

    /// An unambiguous form, with its metric amount.
    fn form(&self) -> String {
        let amount = self.amount();
        let text = |n: f64| rounded(n, 100.0).to_string();
        let metric = rounded(amount, 10.0);
        match self.parts[..] {
            [(n, Unit::Inch)] => format!(r#"{{"inch": "{}"}} ({metric} cm)"#, text(n)),
            [(_, Unit::Foot), ..] => {
                let (feet, inches) = self.feet_and_inches().unwrap_or_default();
                format!(r#"{{"ft": "{}", "inch": "{}"}} ({metric} cm)"#, text(feet), text(inches))
            }
            [(n, Unit::Lb)] => format!(r#"{{"lbs": "{}"}} ({metric} kg)"#, text(n)),
            [(stones, Unit::Stone), (lbs, Unit::Lb)] => {
                format!(r#"{{"st": "{}", "lbs": "{}"}} ({metric} kg)"#, text(stones), text(lbs))
            }
            [(_, unit), ..] if kind(unit) == Kind::Length => format!(r#"{{"cm": "{metric}"}}"#),
            _ => format!(r#"{{"kg": "{}"}}"#, text(amount)),
        }
    }
}

fn split(inches: f64) -> (f64, f64) {
    let inches = rounded(inches, 100.0);
    let feet = (inches / 12.0).floor();
    (feet, rounded(inches - feet * 12.0, 100.0))
}

/// A number with its possible units; none if no unit is given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Term {
    pub(super) number: Number,
    pub(super) units: &'static [Unit],
    /// Whether the unit is a mark, ' or ", or hyphenated ("5-foot-10"): a dash after it
    /// does not start another amount.
    mark: bool,
    /// What precedes it.
    gap: Gap,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Gap {
    Near,
    Dash,
    Break,
}

impl Term {
    /// A number in a member of an object.
    pub(super) fn of(number: Number, units: &'static [Unit]) -> Self {
        Self { number, units, mark: false, gap: Gap::Near }
    }

    fn is(&self, unit: Unit) -> bool {
        self.units == [unit]
    }
}

/// The terms of a text.
pub(super) fn terms(text: &str) -> Result<Vec<Term>, MeasureError> {
    let tokens = tokens(text).map_err(|unreadable| match unreadable {
        Unreadable::Unknown => MeasureError::NotANumber,
        Unreadable::Negative => MeasureError::Negative,
        Unreadable::TooLarge => MeasureError::TooLarge,
    })?;
    in_terms(&tokens).ok_or(MeasureError::NotANumber)
}

fn in_terms(tokens: &[Token]) -> Option<Vec<Term>> {
    let content = |token: &&Token| !matches!(token, Token::Break | Token::Separator);
    // "kg 72": units before their numbers.
    let before = matches!(tokens.iter().find(content), Some(Token::Unit { .. }))
        && matches!(tokens.iter().rfind(content), Some(Token::Number(_)));
    let mut terms: Vec<Term> = Vec::new();
    let mut gap = Gap::Near;
    let mut waiting = None;
    // Whether the last term may still get a unit.
    let mut open = false;
    for token in tokens {
        match *token {
            Token::Number(number) => {
                let (units, mark) = if before { waiting.take()? } else { (&[][..], false) };
                terms.push(Term { number, units, mark, gap });
                (gap, open) = (Gap::Near, true);
            }
            Token::Unit { units, mark } if before => {
                if waiting.replace((units, mark)).is_some() {
                    return None;
                }
            }
            Token::Unit { units, mark } => {
                let term = terms.last_mut().filter(|_| open)?;
                (term.units, term.mark) = (units, mark || gap == Gap::Dash);
                (gap, open) = (Gap::Near, false);
            }
            Token::Join | Token::Separator => open = false,
            Token::Dash => gap = Gap::Dash,
            // "kg = 72" and "72 (kg)" belong together.
            Token::Break if waiting.is_some() => {}
            Token::Break => gap = Gap::Break,
        }
    }
    let ends = matches!(tokens.last(), Some(Token::Join | Token::Dash));
    (!terms.is_empty() && !ends && waiting.is_none()).then_some(terms)
}

/// The one meaning of some terms; `own` is the unit of bare numbers.
pub(super) fn read(terms: &[Term], own: Unit, bounds: &Bounds) -> Result<Reading, MeasureError> {
    let mut found: Vec<Reading> = Vec::new();
    let mut rest = terms;
    while let [first, tail @ ..] = rest {
        let (readings, taken) = next_amount(rest, first, tail, own, bounds, terms.len())?;
        found.push(choose(readings, own, bounds)?);
        rest = rest.get(taken..).unwrap_or_default();
    }
    agreed(found)
}

fn next_amount(
    all: &[Term],
    first: &Term,
    tail: &[Term],
    own: Unit,
    bounds: &Bounds,
    count: usize,
) -> Result<(Vec<Reading>, usize), MeasureError> {
    if let [a, b, c, ..] = all
        && a.is(Unit::Stone)
        && b.is(Unit::Lb)
        && c.is(Unit::Oz)
        && [b, c].iter().all(|term| term.gap == Gap::Near)
    {
        let readings = stones_pounds_ounces(a, b, c);
        return if readings.is_empty() { Err(MeasureError::Mixed) } else { Ok((readings, 3)) };
    }
    if let [second, ..] = tail
        && (second.gap != Gap::Break || is_smaller_part(first, second))
    {
        let pair = if first.units.is_empty() && second.units.is_empty() {
            // Only heights are written as two bare numbers.
            let whole = count == 2 && own == Unit::Cm && *bounds.allowed.start() >= 100.0;
            whole.then(|| bare_pair(first, second)).filter(|readings| !readings.is_empty())
        } else {
            compound(first, second)
        };
        match pair {
            Some(readings) if readings.is_empty() => return Err(MeasureError::Mixed),
            Some(readings) => return Ok((readings, 2)),
            None => {}
        }
        if second.gap == Gap::Dash && first.units.is_empty() {
            // "70-75 kg".
            return Ok((single(&Term { units: second.units, ..*first }, own, bounds), 1));
        }
    }
    Ok((single(first, own, bounds), 1))
}

/// "5 ft / 10 in", "11 st (4 lb)": too small to be the same amount in another unit.
fn is_smaller_part(first: &Term, second: &Term) -> bool {
    let (a, b) = (first.number, second.number);
    let less_than_one = (first.is(Unit::Foot) && second.is(Unit::Inch) && b.value < 12.0)
        || (first.is(Unit::Stone) && second.is(Unit::Lb) && b.value < LBS_PER_STONE);
    a.is_whole() && a.value > 0.0 && less_than_one
}

/// Two terms that make one amount: its readings, none if the numbers do not fit together.
/// `None` if the units are not such a pair.
fn compound(first: &Term, second: &Term) -> Option<Vec<Reading>> {
    let (a, b) = (first.number, second.number);
    let bare = second.units.is_empty();
    // "11st-12" may be from 11 to 12; 5'-10 and 5-10" are not.
    let marked = first.mark || second.mark;
    if second.gap == Gap::Dash && !marked && (bare || first.units.is_empty()) {
        return None;
    }
    let part = |one: Unit, other: Unit| Reading::of(&[(a.value, one), (b.value, other)], b.step());
    let below = |limit: f64| b.value < limit;
    let two_digits = b.is_whole() && b.digits == 2;
    // 1'75 is not 1 foot 75 inches, but 1 m 75 without a decimal point.
    let metres = || {
        let reading = (a.is_whole() && matches!(a.value, 1.0 | 2.0) && two_digits)
            .then(|| part(Unit::M, Unit::Cm));
        reading.into_iter()
    };
    let feet =
        || (a.is_whole() && b.value <= 12.0).then(|| part(Unit::Foot, Unit::Inch)).into_iter();
    let one_of = |units: &[Unit]| units.iter().any(|unit| second.is(*unit));
    // The marks are often mixed up: 5"10, 5'10'.
    let by_marks = first.mark && (bare || second.mark);
    let readings: Vec<Reading> =
        if first.is(Unit::Foot) && (by_marks || bare || one_of(&[Unit::Inch])) {
            if a.value == 0.0 && !bare {
                vec![Reading::of(&[(b.value, Unit::Inch)], b.step())]
            } else if by_marks && (!one_of(&[Unit::Inch]) || b.value > 12.0) {
                feet().chain(metres()).collect()
            } else if a.is_whole() {
                feet().collect()
            } else {
                return None;
            }
        } else if (first.units.is_empty() || first.mark) && one_of(&[Unit::M, Unit::Cm]) {
            let readings: Vec<Reading> = metres().collect();
            let apart = first.units.is_empty() && second.gap == Gap::Dash;
            return (!apart && !readings.is_empty()).then_some(readings);
        } else if first.is(Unit::Inch) && by_marks {
            feet().filter(|_| (3.0..=8.0).contains(&a.value)).chain(metres()).collect()
        } else if first.units.is_empty() && one_of(&[Unit::Inch]) {
            feet().collect()
        } else if first.is(Unit::M) && a.is_whole() && (bare || one_of(&[Unit::Cm, Unit::Mm])) {
            if one_of(&[Unit::Mm]) {
                vec![part(Unit::M, Unit::Mm)]
            } else {
                after_unit(a.value, Unit::M, b, bare, Unit::Cm)
            }
        } else if first.is(Unit::Kg) && a.is_whole() && (bare || one_of(&[Unit::G])) {
            after_unit(a.value, Unit::Kg, b, bare, Unit::G)
        } else if first.is(Unit::Stone) && a.is_whole() && (bare || one_of(&[Unit::Lb])) {
            below(LBS_PER_STONE).then(|| part(Unit::Stone, Unit::Lb)).into_iter().collect()
        } else if first.is(Unit::Lb) && one_of(&[Unit::Oz]) {
            below(16.0).then(|| part(Unit::Lb, Unit::Oz)).into_iter().collect()
        } else {
            return None;
        };
    Some(readings)
}

/// `1m75`, `72kg500`: as many digits as the smaller unit has; fewer may be a decimal
/// ("1m7" may be 1.7 m or 1.07 m).
fn after_unit(a: f64, unit: Unit, b: Number, bare: bool, smaller: Unit) -> Vec<Reading> {
    let digits = if smaller == Unit::Cm { 2 } else { 3 };
    let limit = 10_f64.powi(digits);
    let small = Reading::of(&[(a, unit), (b.value, smaller)], b.step());
    if !bare || b.digits == digits as usize {
        return if b.value < limit { vec![small] } else { Vec::new() };
    }
    if !b.is_whole() || b.digits == 0 || b.digits > 3 {
        return Vec::new();
    }
    let decimals = b.value / 10_f64.powi(i32::try_from(b.digits).unwrap_or(0));
    let decimal = Reading::of(&[(a + decimals, unit)], 10_f64.powi(-2));
    if b.digits < digits as usize { vec![decimal, small] } else { vec![decimal] }
}

fn stones_pounds_ounces(a: &Term, b: &Term, c: &Term) -> Vec<Reading> {
    let (stones, lbs, ounces) = (a.number, b.number, c.number);
    let fits =
        stones.is_whole() && lbs.is_whole() && lbs.value < LBS_PER_STONE && ounces.value < 16.0;
    let parts = [(stones.value, Unit::Stone), (lbs.value, Unit::Lb), (ounces.value, Unit::Oz)];
    fits.then(|| Reading::of(&parts, ounces.step())).into_iter().collect()
}

/// `5 10`, `5-10`, `1 75`: feet and inches, or metres and centimetres.
fn bare_pair(first: &Term, second: &Term) -> Vec<Reading> {
    let (a, b) = (first.number, second.number);
    if !a.is_whole() || b.decimals > 0 || b.digits > 2 {
        return Vec::new();
    }
    let parts = |one, other| vec![Reading::of(&[(a.value, one), (b.value, other)], b.step())];
    match a.value {
        3.0..=8.0 if b.value < 12.0 => parts(Unit::Foot, Unit::Inch),
        1.0 | 2.0 if b.digits == 2 && b.is_whole() => parts(Unit::M, Unit::Cm),
        _ => Vec::new(),
    }
}

/// The possible meanings of one number, the literal one first.
pub(super) fn single(term: &Term, own: Unit, bounds: &Bounds) -> Vec<Reading> {
    let number = term.number;
    let units = if term.units.is_empty() { std::slice::from_ref(&own) } else { term.units };
    let mut readings = Vec::new();
    let mut add = |n: f64, unit: Unit| readings.push(Reading::of(&[(n, unit)], number.step()));
    for unit in units {
        add(number.value, *unit);
    }
    for unit in units {
        if let Some(thousands) = number.thousands {
            add(thousands, *unit);
        }
        match unit {
            // A wrong unit with the decimal point of another one.
            Unit::Cm if number.value < 3.0 && number.decimals > 0 => add(number.value, Unit::M),
            Unit::M if number.is_whole() => add(number.value, Unit::Cm),
            _ => {}
        }
    }
    let literal = converted(number.value, own);
    if term.units.is_empty() && own == Unit::Cm && !bounds.likely.contains(&literal) {
        if number.after_mark.is_some_and(|after| after > 0) {
            add(number.value, Unit::Foot);
        }
        if bounds.allowed.contains(&literal) {
            add(number.value, Unit::Inch);
        }
    }
    let bare_feet = readings.iter().any(|reading| matches!(reading.parts[..], [(_, Unit::Foot)]));
    let (smaller, limit) = if bare_feet { (Unit::Inch, 11) } else { (Unit::Lb, 13) };
    if bare_feet || term.is(Unit::Stone) {
        let larger = if bare_feet { Unit::Foot } else { Unit::Stone };
        for part in written_behind_a_point(number).into_iter().filter(|part| *part <= limit) {
            let parts = [(number.value.trunc(), larger), (f64::from(part), smaller)];
            readings.push(Reading::of(&parts, 1.0));
        }
    }
    readings
}

/// 9 of `5.9`, which some write for 5'9"; for `5.1` also 10, because clients drop the
/// zero of `5.10`.
fn written_behind_a_point(number: Number) -> Vec<u32> {
    match number.after_mark {
        Some(after) if number.decimals <= 2 && after > 0 => {
            let dropped = (number.decimals == 1 && after == 1).then_some(10);
            std::iter::once(after).chain(dropped).collect()
        }
        _ => Vec::new(),
    }
}

/// The first reading is the literal one. If it is possible, another likely one makes the
/// answer ambiguous; if not, the only likely one is used.
pub(super) fn choose(
    readings: Vec<Reading>,
    own: Unit,
    bounds: &Bounds,
) -> Result<Reading, MeasureError> {
    let literal = readings.first().ok_or(MeasureError::NotANumber)?.clone();
    if !literal.is_of(own) {
        return Err(MeasureError::NotANumber);
    }
    let possible = bounds.allowed.contains(&literal.amount());
    let mut distinct: Vec<Reading> = Vec::new();
    let others =
        readings.into_iter().skip(1).filter(|other| bounds.likely.contains(&other.amount()));
    for reading in possible.then_some(literal).into_iter().chain(others) {
        let same = |known: &Reading| (known.amount() - reading.amount()).abs() < 0.01;
        if reading.is_of(own) && !distinct.iter().any(same) {
            distinct.push(reading);
        }
    }
    match distinct.len() {
        0 => Err(MeasureError::OutOfRange),
        1 => distinct.pop().ok_or(MeasureError::OutOfRange),
        _ => Err(ambiguous(&distinct)),
    }
}

/// Several amounts in one answer must agree to the precision of their digits; two in the
/// same units ("72 or 73") are not rounded. A metric one is used, unless it is coarse ("2
/// m").
pub(super) fn agreed(mut found: Vec<Reading>) -> Result<Reading, MeasureError> {
    /// An inch: larger differences are not rounding.
    const MOST: f64 = 2.54;
    let best = found
        .iter()
        .enumerate()
        .min_by(|(_, a), (_, b)| a.rank().partial_cmp(&b.rank()).unwrap_or(Ordering::Equal))
        .map(|(index, _)| index)
        .ok_or(MeasureError::Missing)?;
    let best = found.remove(best);
    let units = |reading: &Reading| reading.parts.iter().map(|(_, unit)| *unit).collect::<Vec<_>>();
    let agrees = |other: &Reading| {
        let rounded =
            if units(other) == units(&best) { 0.0 } else { other.grain.max(best.grain).min(MOST) };
        (other.amount() - best.amount()).abs() <= rounded + 1e-6
    };
    if found.iter().all(agrees) {
        return Ok(best);
    }
    found.insert(0, best);
    Err(ambiguous(&found))
}

fn ambiguous(readings: &[Reading]) -> MeasureError {
    let mut forms: Vec<String> = readings.iter().map(Reading::form).collect();
    forms.dedup();
    forms.truncate(3);
    MeasureError::Ambiguous(forms)
}
