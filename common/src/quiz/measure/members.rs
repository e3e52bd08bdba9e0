//! Measures as JSON: a number, a text, or an object whose members are named by
//! units, or `value` and `unit`. Forms send members that were not filled in:
//! blank, zero and NaN count as absent. All other members must agree.

use serde_json::{Map, Value};

use super::super::number::is_nothing;
use super::super::tokens::folded;
use super::super::words::{Unit, Word, meaning};
use super::reading::{Reading, Term, agreed, choose, read as read_terms, single, terms};
use super::{Bounds, MeasureError, MeasureProblem};

/// The one meaning of a value; `own` is the unit of bare numbers.
pub(super) fn read(value: &Value, own: Unit, bounds: &Bounds) -> Result<Reading, MeasureProblem> {
    match value {
        Value::Object(members) => object(members, own, bounds),
        Value::Array(_) | Value::Bool(_) => Err(MeasureError::NotANumber.of_all()),
        _ if is_nothing(value) => Err(MeasureError::Missing.of_all()),
        _ => of_value(value)
            .and_then(|terms| read_terms(&terms, own, bounds))
            .map_err(MeasureError::of_all),
    }
}

fn of_value(value: &Value) -> Result<Vec<Term>, MeasureError> {
    match value {
        Value::String(text) => terms(text),
        Value::Number(number) => terms(&number.to_string()),
        _ => Err(MeasureError::NotANumber),
    }
}

/// The role of a member by its name.
enum Role {
    Unit(&'static [Unit]),
    Value,
    UnitName,
}

fn role(name: &str) -> Option<Role> {
    let name: String = folded(name).chars().filter(|c| c.is_alphanumeric()).collect();
    match (meaning(&name), name.as_str()) {
        (Some(Word::Unit(units @ [_])), _) => Some(Role::Unit(units)),
        (_, "value" | "val" | "amount" | "number" | "quantity") => Some(Role::Value),
        (_, "unit" | "units" | "uom" | "type" | "system" | "unitsystem") => Some(Role::UnitName),
        _ => None,
    }
}

/// A member with a number: in the unit of its name, or in those in its text.
struct Member<'a> {
    name: &'a str,
    terms: Vec<Term>,
    /// The unit of its name; the stated one for `value`.
    units: &'static [Unit],
}

impl Member<'_> {
    /// The number, if it is nothing else.
    fn plain(&self) -> Option<Term> {
        match self.terms[..] {
            [term] if term.units.is_empty() || term.units == self.units => {
                Some(Term::of(term.number, self.units))
            }
            _ => None,
        }
    }

    fn is(&self, unit: Unit) -> bool {
        self.units == [unit]
    }

    fn reading(&self, own: Unit, bounds: &Bounds) -> Result<Reading, MeasureProblem> {
        let reading = match (self.plain(), &self.terms[..]) {
            (Some(term), _) => choose(single(&term, own, bounds), own, bounds),
            // {"kg": "160 lbs"}: the name and the text disagree.
            (None, [term]) => {
                let named = Term::of(term.number, self.units);
                let mut readings = single(term, own, bounds);
                readings.extend(single(&named, own, bounds));
                choose(readings, own, bounds)
            }
            (None, terms) => read_terms(terms, own, bounds),
        };
        reading.map_err(|error| error.of(self.name))
    }
}

fn object(
    members: &Map<String, Value>,
    own: Unit,
    bounds: &Bounds,
) -> Result<Reading, MeasureProblem> {
    let mut filled = Vec::new();
    let mut first_known = None;
    let stated = stated_unit(members, own)?;
    for (name, value) in members {
        match role(name) {
            Some(Role::UnitName) => {}
            Some(role @ (Role::Unit(_) | Role::Value)) => {
                first_known = first_known.or(Some(name));
                if is_nothing(value) {
                    continue;
                }
                let units = match role {
                    Role::Unit(units) => units,
                    _ => stated.unwrap_or_default(),
                };
                let terms = of_value(value).map_err(|error| error.of(name))?;
                filled.push(Member { name, terms, units });
            }
            None if is_nothing(value) => {}
            None => return Err(MeasureError::UnknownMember.of(name)),
        }
    }
    if filled.is_empty() {
        let member = first_known.cloned();
        return Err(MeasureProblem { member, error: MeasureError::Missing });
    }
    let has_value = members.keys().any(|name| matches!(role(name), Some(Role::Value)));
    if let Some([unit, ..]) = stated.filter(|_| !has_value) {
        check_stated(&filled, *unit, own, bounds)?;
    }
    let mut found = Vec::new();
    for (larger, smaller, below) in PAIRS {
        found.extend(pair(&mut filled, *larger, *smaller, *below, own, bounds)?);
    }
    for member in &filled {
        found.push(member.reading(own, bounds)?);
    }
    agreed(found).map_err(MeasureError::of_all)
}

/// Units that add up, with the upper bound of the smaller one. Clients that round write 5
/// feet 12 inches.
const PAIRS: &[(Unit, Unit, f64)] = &[
    (Unit::Foot, Unit::Inch, 12.0),
    (Unit::Stone, Unit::Lb, 13.99),
    (Unit::M, Unit::Cm, 99.99),
    (Unit::Kg, Unit::G, 999.99),
    (Unit::Lb, Unit::Oz, 15.99),
];

/// Two members as one amount. If they do not add up, feet and inches are refused; others
/// may state the same amount in two units and are left for that check.
fn pair(
    filled: &mut Vec<Member<'_>>,
    larger: Unit,
    smaller: Unit,
    most: f64,
    own: Unit,
    bounds: &Bounds,
) -> Result<Option<Reading>, MeasureProblem> {
    let plain = |unit| filled.iter().position(|member| member.is(unit) && member.plain().is_some());
    let (Some(one), Some(other)) = (plain(larger), plain(smaller)) else { return Ok(None) };
    let (a, b) = (&filled[one].terms[0].number, &filled[other].terms[0].number);
    if !a.is_whole() || b.value > most {
        let refused = larger == Unit::Foot;
        let error = MeasureError::Mixed.of(filled[other].name);
        return if refused { Err(error) } else { Ok(None) };
    }
    let reading = Reading::of(&[(a.value, larger), (b.value, smaller)], b.step());
    let reading = choose(vec![reading], own, bounds).map_err(|error| error.of(filled[one].name))?;
    filled.retain({
        let mut index = 0;
        move |_| {
            index += 1;
            index - 1 != one && index - 1 != other
        }
    });
    Ok(Some(reading))
}

/// A number in `kg` of a form that is set to pounds is ambiguous.
fn check_stated(
    filled: &[Member<'_>],
    stated: Unit,
    own: Unit,
    bounds: &Bounds,
) -> Result<(), MeasureProblem> {
    if filled.iter().any(|member| member.is(stated)) {
        return Ok(());
    }
    for member in filled {
        if let Some(term) = member.plain() {
            let other = Reading::of(&[(term.number.value, stated)], term.number.step());
            let mut readings = single(&term, own, bounds);
            readings.push(other);
            if let Err(error @ MeasureError::Ambiguous(_)) = choose(readings, own, bounds) {
                return Err(error.of(member.name));
            }
        }
    }
    Ok(())
}

/// The unit in a member such as `unit`.
fn stated_unit(
    members: &Map<String, Value>,
    own: Unit,
) -> Result<Option<&'static [Unit]>, MeasureProblem> {
    let mut stated = None;
    for (name, value) in members {
        if matches!(role(name), Some(Role::UnitName)) && !is_nothing(value) {
            let text = value.as_str().map(folded).unwrap_or_default();
            let units = named_unit(text.trim(), own);
            stated = Some(units.ok_or_else(|| MeasureError::UnknownMember.of(name))?);
        }
    }
    Ok(stated)
}

fn named_unit(text: &str, own: Unit) -> Option<&'static [Unit]> {
    let imperial: &[Unit] = if own == Unit::Cm { &[Unit::Inch, Unit::Foot] } else { &[Unit::Lb] };
    match text {
        "metric" | "si" => return Some(if own == Unit::Cm { &[Unit::Cm] } else { &[Unit::Kg] }),
        "imperial" | "us" | "uk" | "standard" | "english" | "customary" => return Some(imperial),
        _ => {}
    }
    if let Some(Word::Unit(units)) = meaning(text.trim_end_matches('.')) {
        return Some(units);
    }
    // "ft/in", "feet and inches": the value has both in it.
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let mut units = words.filter(|word| !matches!(meaning(word), Some(Word::Join)));
    let known = |word| {
        matches!(
            meaning(word),
            Some(Word::Unit([Unit::Foot | Unit::Inch | Unit::Stone | Unit::Lb]))
        )
    };
    (units.clone().next().is_some() && units.all(known)).then_some(imperial)
}
