//! Which foods a person may be given: diet, allergies, dislikes.
//!
//! This is deliberately independent of the worker's own rules, so that an error
//! in the worker's food table cannot hide here.

use super::food::Food;
use super::targets::Targets;

/// Words for allergens, with the table's tags.
const ALLERGY_WORDS: [(&str, &[&str]); 38] = [
    ("milk", &["milk"]),
    ("dairy", &["milk"]),
    ("lactose", &["milk"]),
    ("casein", &["milk"]),
    ("whey", &["milk"]),
    ("cheese", &["milk"]),
    ("yogurt", &["milk"]),
    ("yoghurt", &["milk"]),
    ("butter", &["milk"]),
    ("egg", &["egg"]),
    ("shellfish", &["shellfish"]),
    ("shelfish", &["shellfish"]),
    ("seafood", &["fish", "shellfish"]),
    ("shrimp", &["shellfish"]),
    ("prawn", &["shellfish"]),
    ("crustacean", &["shellfish"]),
    ("mollus", &["shellfish"]),
    ("fish", &["fish"]),
    ("salmon", &["fish"]),
    ("tuna", &["fish"]),
    ("peanut", &["peanut"]),
    ("groundnut", &["peanut"]),
    ("tree nut", &["treenut"]),
    ("treenut", &["treenut"]),
    ("tree_nut", &["treenut"]),
    ("tree-nut", &["treenut"]),
    ("nut", &["treenut", "peanut"]),
    ("almond", &["treenut"]),
    ("walnut", &["treenut"]),
    ("cashew", &["treenut"]),
    ("gluten", &["gluten"]),
    ("wheat", &["gluten"]),
    ("celiac", &["gluten"]),
    ("coeliac", &["gluten"]),
    ("barley", &["gluten"]),
    ("rye", &["gluten"]),
    ("soy", &["soy"]),
    ("legume", &["soy", "peanut"]),
];

type IsFamily = fn(&Food) -> bool;

/// Words for groups of foods, with how to recognise their members.
const FAMILIES: [(&str, IsFamily); 13] = [
    ("meat", |food| matches!(food.origin, "meat" | "poultry")),
    ("poultry", |food| food.origin == "poultry"),
    ("seafood", |food| matches!(food.origin, "fish" | "shellfish")),
    ("fish", |food| food.origin == "fish"),
    ("dairy", |food| food.origin == "dairy"),
    ("cheese", |food| food.is("cheese") || food.name.contains("cheese")),
    ("nut", |food| food.contains.iter().any(|tag| tag.ends_with("nut"))),
    ("bean", |food| food.is("bean") || food.name.contains("bean")),
    ("legume", |food| food.is("bean") || food.contains.contains(&"soy")),
    ("vegetable", |food| food.is("leaf")),
    ("fruit", |food| food.is("sweet")),
    ("bread", |food| food.is("bread")),
    ("banana", |food| food.name.contains("plantain")),
];

/// The person's rules for food.
#[derive(Debug, Clone)]
pub(crate) struct Taste<'a> {
    diet: &'a [String],
    tags: Vec<&'static str>,
    words: Vec<String>,
}

impl<'a> Taste<'a> {
    /// Reads the rules from `targets`.
    pub(crate) fn new(targets: &'a Targets) -> Self {
        let (tags, mut words) = allergies(targets);
        words.extend(targets.dislikes.iter().flat_map(|text| stems(text)));
        Self { diet: &targets.diet, tags, words }
    }

    /// The same rules without the dislikes, if otherwise nothing is left.
    pub(crate) fn without_dislikes(targets: &'a Targets) -> Self {
        let (tags, words) = allergies(targets);
        Self { diet: &targets.diet, tags, words }
    }

    /// Whether this person may be given `food`.
    pub(crate) fn allows(&self, food: &Food) -> bool {
        self.diet.iter().all(|diet| fits_diet(food, diet))
            && !food.contains.iter().any(|tag| self.tags.contains(tag))
            && !self.words.iter().any(|word| names(food, word))
    }
}

/// The tags to avoid, and the words of allergies without a tag.
fn allergies(targets: &Targets) -> (Vec<&'static str>, Vec<String>) {
    let (mut tags, mut words) = (Vec::new(), Vec::new());
    for text in &targets.allergies {
        // "tree nut" must not match as any nut: the longest match decides.
        let known = ALLERGY_WORDS.iter().filter(|(word, _)| text.contains(word));
        match known.max_by_key(|(word, _)| word.len()) {
            Some((_, meant)) => tags.extend(*meant),
            None => words.extend(stems(text)),
        }
    }
    (tags, words)
}

/// Whether `food` fits `diet` as people name it. Exceptions ("but eats fish") are
/// ignored; such a plan fits as well.
fn fits_diet(food: &Food, diet: &str) -> bool {
    let is = |origins: &[&str]| origins.contains(&food.origin);
    let named = |words: &[&str]| words.iter().any(|word| food.name.contains(word));
    let says = |words: &[&str]| words.iter().any(|word| diet.contains(word));
    match () {
        () if says(&[
            "non-v",
            "non v",
            "nonv",
            "not v",
            "anything but",
            "neither",
            "previously",
        ]) =>
        {
            true
        }
        () if says(&["vegan", "plant", "wfpb"]) => is(&["plant"]),
        () if says(&["pescatarian", "pescetarian", "pesco"]) => !is(&["meat", "poultry"]),
        () if says(&["jain"]) => {
            is(&["plant", "dairy"]) && !food.is("root") && !named(&["carrot", "mushroom"])
        }
        () if says(&["veg", "eggetarian", "lacto", "no meat"]) => is(&["plant", "dairy", "egg"]),
        // Meat and milk are not eaten in one meal.
        () if says(&["kosher"]) => !is(&["shellfish", "dairy"]) && !named(&["pork"]),
        () if says(&["halal", "no pork"]) => !is(&["shellfish"]) && !named(&["pork"]),
        () if says(&["hindu", "no beef"]) => !named(&["beef"]),
        () if says(&["fodmap"]) => {
            !is(&["dairy"])
                && !food.is("bean")
                && !food.contains.contains(&"gluten")
                && !named(&[
                    "mushroom",
                    "peas",
                    "pea protein",
                    "edamame",
                    "green beans",
                    "cauliflower",
                    "asparagus",
                ])
                && !named(&["apple", "pear", "mango", "cashew"])
        }
        () if says(&["keto", "low carb", "low-carb", "zero carb"]) => food.styles.contains(&"keto"),
        () if says(&["paleo", "whole30"]) => food.styles.contains(&"paleo"),
        () if says(&["mediterranean"]) => {
            food.origin != "meat" && !food.is("powder") && food.name != "rapeseed oil"
        }
        () => true,
    }
}

/// The words of `text` that can name a food, in the singular.
fn stems(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphabetic()).filter(|word| word.len() >= 3);
    let fillers = ["and", "the", "any", "not", "all", "allergy", "allergic", "intolerant", "free"];
    words
        .filter(|word| !fillers.contains(word))
        .map(|word| match word {
            _ if word.ends_with("oes") => word.trim_end_matches("es"),
            _ if word.ends_with("ss") => word,
            _ => word.trim_end_matches('s'),
        })
        .map(str::to_owned)
        .collect()
}

/// Whether `word` names `food`: as a word of its name or as its group.
fn names(food: &Food, word: &str) -> bool {
    let in_name = food.name.split(' ').any(|part| part.to_lowercase().starts_with(word));
    in_name || FAMILIES.iter().any(|(family, fits)| *family == word && fits(food))
}

#[cfg(test)]
mod tests {
    use super::super::food::load;
    use super::*;

    fn allowed(targets: &Targets) -> Vec<&'static str> {
        let taste = Taste::new(targets);
        load().unwrap().iter().filter(|food| taste.allows(food)).map(|food| food.name).collect()
    }

    fn with(allergies: &[&str], dislikes: &[&str], diet: &str) -> Targets {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Targets {
            allergies: own(allergies),
            dislikes: own(dislikes),
            diet: vec![diet.to_owned()],
            ..Targets::default()
        }
    }

    #[test]
    fn allergies_take_out_every_food_that_has_them() {
        let foods = allowed(&with(&["no nuts!!"], &[], ""));
        assert!(!foods.contains(&"almonds") && !foods.contains(&"roasted peanuts"));
        assert!(foods.contains(&"pumpkin seeds"));
        let foods = allowed(&with(&["tree nut"], &[], ""));
        assert!(!foods.contains(&"almonds") && foods.contains(&"roasted peanuts"));
        let foods = allowed(&with(&["lactose intolerant", "gluten"], &[], ""));
        for name in ["feta", "skyr", "whey protein powder", "rolled oats", "seitan"] {
            assert!(!foods.contains(&name), "{name}");
        }
        let foods = allowed(&with(&["shelfish"], &[], ""));
        assert!(!foods.contains(&"shrimp") && foods.contains(&"cod fillet"));
    }

    #[test]
    fn dislikes_take_out_names_and_families() {
        let foods = allowed(&with(&[], &["mushrooms", "fish", "tomatoes"], ""));
        for name in ["button mushrooms", "salmon fillet", "tuna in water", "cherry tomatoes"] {
            assert!(!foods.contains(&name), "{name}");
        }
    }

    #[test]
    fn diets_keep_to_their_foods() {
        let vegan = allowed(&with(&[], &[], "vegan"));
        assert!(vegan.contains(&"firm tofu") && !vegan.contains(&"skyr"));
        let vegetarian = allowed(&with(&[], &[], "vegetarian"));
        assert!(vegetarian.contains(&"skyr") && !vegetarian.contains(&"tuna in water"));
        let pescatarian = allowed(&with(&[], &[], "pescatarian"));
        assert!(pescatarian.contains(&"tuna in water") && !pescatarian.contains(&"chicken breast"));
        let jain = allowed(&with(&[], &[], "jain"));
        assert!(jain.contains(&"skyr") && !jain.contains(&"carrots"));
        let halal = allowed(&with(&[], &[], "halal"));
        assert!(halal.contains(&"chicken breast") && !halal.contains(&"pork tenderloin"));
        assert!(allowed(&with(&[], &[], "non-vegetarian")).contains(&"chicken breast"));
        let keto = allowed(&with(&[], &[], "keto"));
        assert!(keto.contains(&"raspberries") && !keto.contains(&"brown rice"));
        let paleo = allowed(&with(&[], &[], "paleo"));
        assert!(!paleo.contains(&"chickpeas") && !paleo.contains(&"feta"));
    }
}
