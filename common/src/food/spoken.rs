//! Answers and plans in many languages, checked against labelled pairs.

use std::collections::BTreeMap;

use super::{Avoid, Diet, Found, Register, find};

/// `locale | answer | foods to refuse | foods to allow`; `diet:` before an answer about
/// the diet.
const PAIRS: &str = include_str!("data/languages_pairs.txt");

/// The results of one language.
#[derive(Default)]
struct Score {
    refused: u32,
    missed: u32,
    allowed: u32,
    imagined: u32,
}

impl Score {
    fn and(&self, other: &Self) -> Self {
        Self {
            refused: self.refused + other.refused,
            missed: self.missed + other.missed,
            allowed: self.allowed + other.allowed,
            imagined: self.imagined + other.imagined,
        }
    }

    fn say(&self, language: &str) {
        let share = |part: u32, other: u32| match part + other {
            0 => 1.0,
            all => f64::from(part) / f64::from(all),
        };
        println!(
            "figures: {language}: {} pairs of an answer and a food, precision {:.3}, recall {:.3}",
            self.refused + self.missed + self.allowed + self.imagined,
            share(self.refused, self.imagined),
            share(self.refused, self.missed),
        );
    }
}

#[test]
fn what_people_declare_in_their_language_is_kept_out_in_it_and_in_english() {
    let mut scores: BTreeMap<&str, Score> = BTreeMap::new();
    for line in PAIRS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let parts: Vec<&str> = line.split(" | ").collect();
        let [locale, answer, refused, allowed] = *parts else { panic!("{line}") };
        let diet = answer.strip_prefix("diet:").map(Diet::read);
        let avoid =
            diet.as_ref().map_or_else(|| Avoid::allergies(answer), |diet| diet.avoid.clone());
        let rules = diet.as_ref().map(Diet::rules).unwrap_or_default();
        let score = scores.entry(locale).or_default();
        let foods = |part: &'static str| part.split("; ").filter(|food| *food != "-");
        let hits = |food: &str| {
            let found = find(food, Register::Listed, &avoid.languages());
            let faulty = |found: &Found| rules.iter().any(|rule| !rule.faults(found).is_empty());
            !avoid.dangers(food, Register::Listed).is_empty() || found.iter().any(faulty)
        };
        for food in foods(refused) {
            let hit = hits(food);
            score.refused += u32::from(hit);
            score.missed += u32::from(!hit);
            if !hit {
                println!("{locale}: {answer:?} lets pass {food:?}: {:?}", avoid.names());
            }
        }
        for food in foods(allowed) {
            let hit = hits(food);
            score.allowed += u32::from(!hit);
            score.imagined += u32::from(hit);
            if hit {
                println!("{locale}: {answer:?} refuses {food:?}: {:?}", avoid.names());
            }
        }
    }
    scores.iter().for_each(|(language, score)| score.say(language));
    let all = scores.values().fold(Score::default(), |all, score| all.and(score));
    all.say("all languages");
    assert!(all.refused + all.allowed >= 2_000, "the list has shrunk");
    assert_eq!((all.missed, all.imagined), (0, 0), "see above");
}

/// A plan that is in English after all has no bread in its pans.
#[test]
fn ordinary_words_are_foods_in_a_plan_of_their_language_and_not_in_english() {
    let avoid = Avoid::allergies("gluten").in_language_of("es-MX");
    let found = |text: &str| !avoid.dangers(text, Register::Prose).is_empty();
    assert!(found("Tostar dos rebanadas de pan y servir."));
    assert!(!found("Warm a pan with the rice."));
}

/// Names of allergens are read in spellings of other keyboards, and no ordinary
/// word of English becomes a food for somebody who answered in another language.
#[test]
fn words_of_other_languages_are_foods_only_where_they_are_meant() {
    let refuses = |answer: &str, text: &str, register| {
        !Avoid::allergies(answer).dangers(text, register).is_empty()
    };
    for (answer, text) in [
        ("Ei", "Ei"),
        ("Ei", "2 Eier, Rührei"),
        ("Kaese", "Kaesebrot mit Gouda"),
        ("Käse", "Frischkaese"),
        ("trigo", "Pan"),
        ("Råg", "Råg"),
        ("latte", "Latte di mandorla con latte intero"),
        ("卵", "卵焼き"),
        ("안녕 밀", "밀을 볶는다"),
        ("밀가루", "열무국수"),
        ("花生", "去壳花生"),
    ] {
        assert!(refuses(answer, text, Register::Listed), "{answer}: {text}");
    }
    for (answer, text) in [
        ("trigo", "Heat the pan. Pan-fry the rice in a second pan."),
        ("froment", "Rest when there is pain in the knee."),
        ("rug", "Stretch on a rug at home."),
        ("råg", "Wipe it with a rag."),
        ("Fisch", "Finish with fresh herbs."),
        ("avena", "Walk along the avenue."),
        ("grano", "Granny Smith apples"),
        ("leche", "Leek soup with coconut milk"),
        ("Milch", "Kokosmilch, Kakaobutter und Reisdrink"),
        ("lait", "lait de coco, beurre de cacao"),
        ("nötter", "muskotnöt och kokosnöt"),
    ] {
        assert!(!refuses(answer, text, Register::Prose), "{answer}: {text}");
    }
}
