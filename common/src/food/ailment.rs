//! Allergies in a text about health: "severe shellfish allergy", "Erdnussallergie",
//! "allergic to shrimp and squid". In doubt a food beside such a word is declared.

use std::sync::LazyLock;

use super::names::plain_list;
use super::usage;
use super::vocabulary::{Kind, Sense};

/// Parts of words for an allergy or intolerance, in any language and in compounds.
static STEMS: LazyLock<Vec<String>> = LazyLock::new(|| {
    plain_list(&[
        "allerg",
        "alerg",
        "alerj",
        "allegi",
        "alerhiya",
        "anaphyla",
        "anafyla",
        "anafila",
        "intoler",
        "intoller",
        "netoler",
        "nietoler",
        "hypersens",
        "sensitiv",
        "tolerat",
        "reaction",
        "unverträglich",
        "überempfindlich",
        "overgevoelig",
        "överkänslig",
        "overfølsom",
        "yliherk",
        "ülitundlik",
        "uczulen",
        "uczulon",
        "érzéken",
        "аллерг",
        "алерг",
        "непереносим",
        "αλλεργ",
        "δυσανεξ",
        "ალერგ",
        "حساسي",
        "حساسیت",
        "الرجي",
        "אלרג",
        "רגיש",
        "过敏",
        "過敏",
        "不耐",
        "アレルギ",
        "알레르기",
        "알러지",
        "แพ้",
        "एलर्जी",
        "অ্যালার্জি",
        "ஒவ்வாமை",
        "አለርጂ",
        "mzio",
    ])
});
/// Names of organs and the like, and illnesses that are one letter from a food.
const NOT_FOODS: &[&str] = &[
    "heart", "hearts", "liver", "kidney", "kidneys", "tongue", "brain", "bladder", "lung", "lungs",
    "bone", "bones", "gout", "salt", "water", "cold", "insulin", "pcos", "graves",
];
/// The food after these is none: "high blood sugar", "fatty liver".
const NOT_AFTER: &[&str] = &["blood", "fatty", "high", "low"];
/// The food before these is none: "yeast infection", "olive pollen".
const NOT_BEFORE: &[&str] = &[
    "pollen",
    "pollens",
    "infection",
    "infections",
    "abuse",
    "addiction",
    "dependence",
    "dependency",
    "disease",
    "disorder",
    "failure",
    "deficiency",
    "cancer",
    "stones",
];
/// Words between the foods of a list that continues in the next clause.
const LIST_WORDS: &[&str] = &[
    "and", "or", "also", "plus", "no", "to", "the", "any", "all", "other", "und", "oder", "y", "o",
    "et", "ou", "e", "en", "och", "i", "keine", "kein", "sin", "sans", "de", "и",
];
/// Words that deny the allergy after them.
const DENIALS: &[&str] = &[
    "no",
    "not",
    "never",
    "without",
    "dont",
    "doesnt",
    "kein",
    "keine",
    "keinen",
    "keinerlei",
    "nicht",
    "sin",
    "ninguna",
    "sans",
    "aucune",
    "pas",
    "nessuna",
    "non",
    "senza",
    "sem",
    "nenhuma",
    "nao",
    "geen",
    "niet",
    "ingen",
    "inga",
    "inte",
    "ikke",
    "bez",
    "nie",
];
/// Words that may stand in "I do not have an allergy to …", beside foods.
const DENIED_WORDS: &[&str] = &[
    "i", "im", "am", "have", "had", "has", "do", "known", "any", "a", "an", "the", "of", "to",
    "food", "foods", "and", "or", "ich", "habe", "bin", "gegen", "auf", "eine", "und", "oder",
    "je", "suis", "aux", "a", "la", "al", "alla", "los", "las", "ik", "heb", "ben", "voor", "en",
    "med", "mot",
];

/// How a clause bears on allergies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clause {
    /// It says that there is one.
    Allergy,
    /// Foods and what joins them, or nothing: it continues the clause beside it.
    List,
    /// Anything else.
    Other,
}

/// The parts that name the foods of an allergy or intolerance.
pub(super) fn declared(senses: &[Sense]) -> Vec<&Sense> {
    let clauses: Vec<&[Sense]> =
        senses.split(|sense| sense.words.is_empty()).filter(|clause| !clause.is_empty()).collect();
    let kinds: Vec<Clause> = clauses.iter().map(|clause| kind(clause)).collect();
    let listed = headed(senses);
    let declares = |at: usize| match kinds[at] {
        _ if listed.contains(&clauses[at][0].range.start) => true,
        Clause::Allergy => true,
        Clause::List => continues(kinds[..at].iter().rev()) || continues(kinds[at + 1..].iter()),
        Clause::Other => false,
    };
    let declaring = clauses.iter().enumerate().filter(|(at, _)| declares(*at));
    declaring.flat_map(|(_, clause)| foods(clause)).collect()
}

/// Where the clauses begin that follow "allergies:" or "allergies (" in its sentence: a word
/// in them that no table has does not end the list.
fn headed(senses: &[Sense]) -> Vec<usize> {
    let mut found = Vec::new();
    for sentence in senses.split(|sense| sense.kind == Kind::Stop) {
        let clauses = sentence.split(|sense| sense.words.is_empty());
        let mut clauses = clauses.filter(|clause| !clause.is_empty());
        let heads = |clause: &[Sense]| {
            let all_fillers = clause.iter().all(|sense| sense.kind == Kind::Filler);
            all_fillers && kind(clause) == Clause::Allergy && !is_of_something_else(clause)
        };
        if clauses.by_ref().any(heads) {
            found.extend(clauses.map(|clause| clause[0].range.start));
        }
    }
    found
}

/// "Pollen allergy", "seasonal allergies": what follows is another illness.
fn is_of_something_else(clause: &[Sense]) -> bool {
    const HEADING: &[&str] =
        &["food", "foods", "known", "my", "severe", "i", "am", "im", "have", "and", "the", "also"];
    let other = |(at, sense): (usize, &Sense)| {
        !is_ailment(clause, at) && !HEADING.contains(&sense.words.as_str())
    };
    clause.iter().enumerate().any(other)
}

/// Whether the nearest clause that is no list says that there is an allergy.
fn continues<'k>(mut beside: impl Iterator<Item = &'k Clause>) -> bool {
    beside.find(|kind| **kind != Clause::List) == Some(&Clause::Allergy)
}

fn kind(clause: &[Sense]) -> Clause {
    let ailment = (0..clause.len()).find(|at| is_ailment(clause, *at));
    let listed =
        |sense: &Sense| !sense.foods().is_empty() || LIST_WORDS.contains(&sense.words.as_str());
    match ailment {
        Some(at) if is_denied(clause, at) => Clause::Other,
        Some(_) => Clause::Allergy,
        None if clause.iter().all(listed) => Clause::List,
        None if clause.iter().all(|sense| sense.kind == Kind::Filler) => Clause::List,
        None => Clause::Other,
    }
}

fn is_ailment(clause: &[Sense], at: usize) -> bool {
    let word = clause[at].words.as_str();
    // Vietnamese writes it as two words.
    let two = word == "di" && clause.get(at + 1).is_some_and(|next| next.words == "ung");
    two || STEMS.iter().any(|stem| word.contains(stem.as_str()))
}

/// "I have no peanut allergy", "not allergic to nuts or eggs", with no other word in the
/// clause: any other one may turn the meaning round.
fn is_denied(clause: &[Sense], ailment: usize) -> bool {
    let is_food = |sense: &Sense| !sense.foods().is_empty();
    let Some(denial) =
        clause[..ailment].iter().position(|sense| DENIALS.contains(&sense.words.as_str()))
    else {
        return false;
    };
    let before = &clause[denial + 1..ailment];
    let after = &clause[ailment + 1..];
    let plain = |sense: &Sense| is_food(sense) || DENIED_WORDS.contains(&sense.words.as_str());
    let joined = !before.windows(2).any(|pair| pair.iter().all(is_food));
    let one_side = !(before.iter().any(is_food) && after.iter().any(is_food));
    let only = clause[..denial].iter().all(|sense| !is_food(sense) && plain(sense));
    only && joined && one_side && before.iter().chain(after).all(plain)
}

fn foods(clause: &[Sense]) -> impl Iterator<Item = &Sense> {
    let word = |at: Option<usize>| {
        at.and_then(|at| clause.get(at)).map_or("", |sense| sense.words.as_str())
    };
    clause.iter().enumerate().filter_map(move |(at, sense)| {
        let named = sense.foods().iter().any(|entry| entry.own & usage::FREES == 0)
            && !NOT_FOODS.contains(&sense.words.as_str())
            && !NOT_AFTER.contains(&word(at.checked_sub(1)))
            && !NOT_BEFORE.contains(&word(Some(at + 1)));
        named.then_some(sense)
    })
}

#[cfg(test)]
mod tests {
    use crate::food::{Avoid, Register};

    fn reads(text: &str) -> String {
        Avoid::default().with_groups_of(text).names().join(",")
    }

    #[test]
    fn an_allergy_among_the_conditions_is_an_allergy() {
        for (text, expected) in [
            ("Peanut allergy", "peanuts"),
            ("severe shellfish allergy", "crustaceans,molluscs"),
            ("fish allergy", "fish"),
            ("sesame allergy", "sesame"),
            ("Erdnussallergie", "peanuts"),
            ("Asthma, Erdnuss-Allergie", "peanuts"),
            (
                "High blood sugar, allergic to peanuts, shrimp and sesame",
                "crustaceans,peanuts,sesame",
            ),
            ("Peanut, sesame and egg allergies", "eggs,peanuts,sesame"),
            ("Food allergies: peanuts (severe), sesame", "peanuts,sesame"),
            ("no sesame - allergy", "sesame"),
            ("No peanuts due to peanut allergy", "peanuts"),
            ("I have no allergies except peanuts", "peanuts"),
            ("Anaphylaxis to eggs", "eggs"),
            ("alergia al marisco", "crustaceans,molluscs"),
            ("allergie à l'arachide", "peanuts"),
            ("аллергия на арахис", "peanuts"),
            ("花生过敏", "peanuts"),
            ("卵アレルギー", "eggs"),
            ("kiwi allergy", "kiwi"),
            ("Food allergies: zorblax and sesame", "sesame"),
            ("Allergies (zorblax, sesame)", "sesame"),
            ("cannot tolerate eggs", "eggs"),
            ("Lactose intolerance", "lactose"),
            ("Coeliac disease and type 1 diabetes", "gluten"),
            ("fructose intolerance", "honey,added sugar,very sweet foods,fruit"),
        ] {
            let mut names: Vec<String> = reads(text).split(',').map(str::to_owned).collect();
            let mut expected: Vec<&str> = expected.split(',').collect();
            names.sort();
            expected.sort_unstable();
            let names: Vec<&str> =
                names.iter().map(String::as_str).filter(|name| *name != "fructose").collect();
            assert_eq!(names, expected, "{text}");
        }
        let shrimp = Avoid::default().with_groups_of("severe shellfish allergy");
        assert!(!shrimp.dangers("Garlic shrimp", Register::Listed).is_empty());
    }

    #[test]
    fn other_conditions_and_denied_allergies_declare_nothing() {
        for text in [
            "I have no peanut allergy",
            "no peanut allergy",
            "I don't have a peanut allergy",
            "Not allergic to shrimp or eggs",
            "Keine Erdnussallergie",
            "no food allergies",
            "hay fever",
            "pollen allergy",
            "birch pollen allergy",
            "olive pollen allergy",
            "cat allergy",
            "penicillin allergy",
            "allergic to penicillin, amoxicillin and aspirin",
            "dust mite allergy, fatty liver",
            "allergic rhinitis, high blood sugar",
            "Seasonal allergies, yeast infection",
            "latex allergy, gout, kidney stones, liver disease",
            "bee sting allergy; wasp venom allergy",
            "nickel allergy, mold allergy, sulfa allergy, ibuprofen allergy, codeine allergy",
            "sun allergy, cold allergy, water allergy, metal allergy, drug allergy",
            "Penicillinallergie, Hausstauballergie, Katzenallergie, Pollenallergie",
            "allergic asthma, eczema, hypertension, hypothyroidism, PCOS, IBS, GERD",
            "contact dermatitis, insulin sensitivity, sensitive skin, exercise intolerance",
            "insect bite allergy, horse fly bites, grass allergy, tree allergy, dog allergy",
            "Type 2 diabetes, high cholesterol, anemia, arthritis, depression, anxiety, migraine",
            "I eat a lot of fish",
            "Heart disease",
        ] {
            assert_eq!(reads(text), "", "{text}");
        }
    }

    /// Foods that are one letter from an illness are not guessed in it.
    #[test]
    fn an_illness_beside_an_allergy_is_no_food() {
        const ILLNESSES: &str = "asthma; gout; stroke; angina; anemia; anaemia; lupus; psoriasis; rosacea; \
            acne; vertigo; tinnitus; cataract; glaucoma; epilepsy; autism; ADHD; dementia; \
            hernia; ulcer; ulcers; gastritis; reflux; acid reflux; GERD; IBS; IBD; Crohn's; colitis; \
            ulcerative colitis; SIBO; diverticulitis; gallstones; kidney stones; kidney disease; \
            fatty liver; hepatitis; cirrhosis; pancreatitis; diabetes; type 2 diabetes; prediabetes; \
            insulin resistance; PCOS; endometriosis; menopause; hypothyroidism; Hashimoto; Graves; \
            hypertension; high blood pressure; low blood sugar; high cholesterol; arrhythmia; \
            heart failure; arthritis; osteoporosis; fibromyalgia; scoliosis; sciatica; herniated disc; \
            back pain; migraine; depression; anxiety; bipolar; PTSD; insomnia; sleep apnea; obesity; \
            eating disorder; anorexia; bulimia; cancer; HIV; COPD; bronchitis; sinusitis; eczema; \
            dermatitis; vitiligo; thyroid; celiac; histamine; MS; multiple sclerosis; parkinson; \
            lymphedema; varicose veins; DVT; hemochromatosis; sickle cell; thalassemia; Rückenschmerzen; \
            Bluthochdruck; Schilddrüse; diabète; hipertensión; colesterol; asma; ansiedad; none; other";
        let wrong: Vec<(&str, String)> = ILLNESSES
            .split(';')
            .map(str::trim)
            .map(|illness| (illness, reads(&format!("pollen allergy, {illness}"))))
            .filter(|(illness, read)| !read.is_empty() && *illness != "celiac")
            .collect();
        assert_eq!(wrong, []);
    }
}
