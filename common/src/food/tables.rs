//! The tables, checked against declared foods and for consistency.

use super::{Avoid, Register, Trait, Traits, foods, usage};

const DECLARED: &str = include_str!("data/declared.txt");

/// Longer terms that begin with an allergen's name and have none of it.
const NAMESAKES: &str = "
    cream of wheat; cream cracker; cream of rice; malted milk powder; cake flour;
    pastry flour; chow mein noodle; lo mein noodle; pizza dough; pizza crust; pizza base; pizza sauce;
    pie crust; pasta sauce; enchilada sauce; oyster cracker; oyster mushroom; lobster mushroom;
    chestnut mushroom; tortilla espanola; tortilla de patatas; tortilla chip; battered fish; beer nut;
    everything bagel seasoning; seafood stick; burger patty; char siu; pad thai noodle;
    gluten free grain; gluten free flour; butter bean; romano bean; romano pepper; tart cherry;
    cream soda; pie filling; cookie butter; dairy free spread; dairy free milk;
    dairy free yogurt; dairy free yoghurt; dairy free cheese; lasagne sheet; lasagna sheet;
    burrito bowl; pissaladiere dough; bun cha; okonomiyaki sauce; milk sugar; noix de coco";

#[test]
fn what_people_declare_keeps_them_from_what_they_must_not_eat_and_from_little_else() {
    let (mut hits, mut missed, mut allowed, mut imagined) = (0, 0, 0, 0);
    let lines = DECLARED.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        let mut parts = line.split(" | ");
        let mut part = || parts.next().unwrap();
        let avoid = Avoid::allergies(part());
        let foods = |part: &'static str| part.split("; ").filter(|food| *food != "-");
        let refused = |food: &str| !avoid.dangers(food, Register::Listed).is_empty();
        for food in foods(part()) {
            let hit = refused(food);
            hits += u32::from(hit);
            missed += u32::from(!hit);
            if !hit {
                println!("{:?} lets pass {food:?}", avoid.names());
            }
        }
        for food in foods(part()) {
            let hit = refused(food);
            allowed += u32::from(!hit);
            imagined += u32::from(hit);
            if hit {
                println!("{:?} refuses {food:?}", avoid.names());
            }
        }
    }
    let recall = f64::from(hits) / f64::from(hits + missed);
    let precision = f64::from(hits) / f64::from(hits + imagined);
    println!(
        "figures: {} pairs of an allergy and a food: {} judged right, {missed} let through \
         wrongly (recall {recall:.4}), {imagined} refused wrongly",
        hits + missed + allowed + imagined,
        hits + allowed,
    );
    assert!(hits + missed + allowed + imagined >= 800, "the list has shrunk");
    assert_eq!(missed, 0, "an allergen must never be missed");
    assert!(precision >= 0.98, "too many false alarms");
}

/// The longest term at a place decides. So a dish that begins with the name of
/// an allergen ("egg on toast") must have it too.
#[test]
fn no_longer_term_hides_the_allergen_it_begins_with() {
    let namesakes: Vec<_> = NAMESAKES.split(';').map(str::trim).collect();
    let mut hiding = Vec::new();
    for entry in foods().entries() {
        let words: Vec<_> = entry.term.split(' ').map(|word| foods().word(word)).collect();
        let all = Traits(entry.open | entry.hidden | entry.maybe)
            .without(Traits(usage::ALL))
            .without(Traits::PLAIN);
        let Some((shorter, _)) = foods().longest(&words[..words.len() - 1]) else { continue };
        let lost = Traits(shorter.open).and(Traits::EU_14).without(all);
        let promise = (shorter.own | entry.own) & usage::FREES != 0;
        if !lost.is_empty() && !promise && !all.is_empty() {
            hiding.push((entry.term.as_str(), lost));
        }
    }
    for (term, lost) in &hiding {
        let lost: Vec<_> = lost.iter().map(Trait::name).collect();
        assert!(namesakes.contains(term), "{term:?} hides {lost:?}");
    }
    for term in namesakes {
        assert!(hiding.iter().any(|(own, _)| *own == term), "{term:?} hides nothing");
    }
}
