//! Labelled foods: how many allergens are found, and how many false alarms
//! there are.

use super::{Literals, Register, Trait, Traits, find};

const CORPUS: &str = include_str!("data/corpus.txt");

struct Sample {
    text: &'static str,
    register: Register,
    must: Traits,
    may: Traits,
}

fn samples() -> Vec<Sample> {
    let lines = CORPUS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(sample).collect()
}

fn sample(line: &'static str) -> Sample {
    let (text, labels) = line.rsplit_once('|').unwrap();
    let (mut must, mut may) = (Traits::NONE, Traits::NONE);
    for label in labels.split_whitespace().filter(|label| *label != "-") {
        let name = label.trim_start_matches('?');
        let one = Traits::of(&[*Trait::ALL.iter().find(|one| one.mark() == name).unwrap()]);
        let set = if label.starts_with('?') { &mut may } else { &mut must };
        *set = set.or(one);
    }
    let (text, register) = match text.strip_prefix('>') {
        Some(prose) => (prose, Register::Prose),
        None => (text, Register::Listed),
    };
    Sample { text: text.trim(), register, must, may }
}

fn found(text: &str, register: Register) -> Traits {
    find(text, register, &Literals::default())
        .iter()
        .fold(Traits::NONE, |set, food| set.or(food.any()))
        .and(Traits::EU_14)
}

fn names(set: Traits) -> String {
    set.iter().map(Trait::name).collect::<Vec<_>>().join(", ")
}

#[test]
fn every_labelled_allergen_is_found_and_few_are_imagined() {
    let samples = samples();
    let (mut hits, mut missed, mut imagined, mut clean, mut clean_flagged) = (0, 0, 0, 0, 0);
    for Sample { text, register, must, may } in &samples {
        let found = found(text, *register);
        let (lost, extra) = (must.without(found), found.without(must.or(*may)));
        hits += must.and(found).iter().count();
        missed += lost.iter().count();
        imagined += extra.iter().count();
        clean += usize::from(must.is_empty());
        clean_flagged += usize::from(must.is_empty() && !extra.is_empty());
        if !lost.is_empty() || !extra.is_empty() {
            println!("{text:40} missed [{}] imagined [{}]", names(lost), names(extra));
        }
    }
    let recall = ratio(hits, hits + missed);
    let precision = ratio(hits, hits + imagined);
    println!(
        "{} samples, {} labels, {clean} without any: recall {recall:.4}, precision {precision:.4}, \
         {clean_flagged} clean ones flagged",
        samples.len(),
        hits + missed,
    );
    assert!(samples.len() >= 300 && clean >= 100, "the corpus has shrunk");
    assert_eq!(missed, 0, "an allergen must never be missed");
    assert!(precision >= 0.98 && clean_flagged == 0, "too many false alarms");
}

fn ratio(part: usize, whole: usize) -> f64 {
    let [part, whole] = [part, whole].map(|count| f64::from(u32::try_from(count).unwrap()));
    part / whole
}

#[test]
fn case_plural_hyphens_and_accents_change_nothing() {
    for Sample { text, must, register, .. } in samples() {
        if register == Register::Prose {
            continue;
        }
        for variant in [
            text.to_uppercase(),
            text.to_lowercase(),
            format!("Organic {text}"),
            format!("{text}, 50 g"),
            text.replace('-', " "),
            text.replace('a', "a\u{301}"),
            text.replace('e', "\u{435}"),
        ] {
            let lost = must.without(found(&variant, register));
            assert!(lost.is_empty(), "{variant:?} hides {}", names(lost));
        }
    }
}
