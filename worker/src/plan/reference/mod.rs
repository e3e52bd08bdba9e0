//! The nutrients of foods by USDA FoodData Central, with which a plan's values
//! are compared.
//!
//! For "brown rice" the reference has raw, cooked, dry and with fat: the value
//! of any of these is between the lowest and the highest of them. The closer
//! those are, the more certain the match, and the smaller the allowed
//! deviation. Embedded; no I/O.

use std::collections::HashMap;
use std::sync::LazyLock;

use regimen_common::lexicon::token;

/// Name, data type, category, then kcal, protein, carbohydrate, fat and fibre per 100 g.
const TABLE: &str = include_str!("usda_reference.tsv");

/// More foods than this that a name may mean tell nothing.
const MOST: usize = 400;
/// Energies that differ by less are the same food.
const SURE_SPREAD: f64 = 1.35;

/// So many foods must agree.
const SURE_FOODS: usize = 3;
/// How far outside of what the reference has a figure may lie.
const SURE_FACTOR: f64 = 1.35;
const UNSURE_FACTOR: f64 = 1.5;
/// One food alone may not be the one that is meant.
const SINGLE_FACTOR: f64 = 2.0;
/// The same as an amount per gram of food: kcal, protein, carbohydrate, fat.
const SLACK: Figures = [0.3, 0.04, 0.06, 0.06];
/// Of so many foods a share at either end, one in so many, is left out.
const MANY: usize = 5;
const ODD_SHARE: usize = 6;
/// What is left of a gram's figures when dry grains or pulses have taken up water.
const COOKED_SHARE: f64 = 0.3;
/// Grains and pulses have more energy a gram when they are dry.
const LEAST_DRY_KCAL: f64 = 2.5;
/// Categories of such foods.
const SWELLING: [&str; 4] = ["Legume", "legumes", "Cereal Grains", "Pasta"];
/// A name of several words may be that of a food with so many words more.
const MORE_WORDS: usize = 3;

/// Words that say how a food is sold or made ready, and change little else than its water.
const IGNORED: &[&str] = &[
    "a", "an", "and", "of", "the", "with", "in", "fresh", "organic", "large", "small", "medium",
    "ripe", "chopped", "sliced", "diced", "minced", "grated", "shredded", "cubed", "halved",
    "whole", "peeled", "rinsed", "drained", "plain", "raw", "cooked", "uncooked", "boiled",
    "steamed", "baked", "grilled", "roasted", "roast", "toasted", "sauteed", "poached", "frozen",
    "thawed", "canned", "tinned", "skinless", "boneless", "unsalted", "salted", "free", "range",
    "extra", "virgin", "light", "style", "natural", "pure", "homemade", "warm", "hot", "cold",
    "nfs", "ns", "as", "to", "type", "piece", "slice", "fillet", "filet", "mixed", "baby",
];

/// Names that may be anything.
const VAGUE: &[&str] = &[
    "salad",
    "sauce",
    "soup",
    "dressing",
    "seasoning",
    "spice",
    "herb",
    "snack",
    "bar",
    "shake",
    "smoothie",
    "stew",
    "curry",
    "drink",
    "topping",
    "filling",
    "mix",
    "fruit",
    "vegetable",
];
/// Categories of dishes, which are no ingredients.
const DISHES: &[&str] =
    &["dishes", "Baby", "Fast Foods", "Restaurant", "andwich", "Burgers", "Pizza", "Native Foods"];

/// Groups under which the reference lists foods: "Cheese, mozzarella".
const HEADS: &[&str] = &[
    "cheese",
    "fish",
    "nut",
    "seed",
    "oil",
    "spice",
    "squash",
    "pepper",
    "crustacean",
    "mollusk",
    "beverage",
    "cereal",
    "bread",
    "rice",
    "pasta",
    "vegetable",
    "fruit",
    "juice",
    "tomato",
    "bean",
    "sweetener",
    "melon",
    "lettuce",
    "cabbage",
    "mushroom",
    "pea",
    "lentil",
    "potato",
    "flour",
    "milk",
    "yogurt",
    "noodle",
    "onion",
    "pulse",
    "legume",
    "leavening",
    "syrup",
    "candy",
    "turkey",
    "chicken",
    "beef",
    "pork",
    "lamb",
    "sausage",
    "tofu",
    "soybean",
    "sauce",
    "snack",
    "cracker",
];

/// Figures per gram: kcal, protein, carbohydrate, fat.
pub(crate) type Figures = [f64; 4];

/// What a food may contain.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Match {
    /// The least of all foods that may be meant, per gram.
    pub(crate) least: Figures,
    /// The most.
    pub(crate) most: Figures,
    /// The usual one: the median.
    pub(crate) usual: Figures,
    /// Whether all of them are nearly the same food.
    pub(crate) sure: bool,
    /// How many there are.
    foods: usize,
}

struct Row {
    /// The words that say which food it is.
    words: Vec<String>,
    figures: Figures,
    /// Whether it takes up water when it is cooked.
    swells: bool,
}

struct Reference {
    rows: Vec<Row>,
    /// Rows by each of their words.
    by_word: HashMap<String, Vec<usize>>,
}

static REFERENCE: LazyLock<Reference> = LazyLock::new(load);

/// The foods of the reference that a name may mean; none where it is not known.
pub(crate) fn of(name: &str) -> Option<Match> {
    // What stands in brackets is a form or the name in English.
    let outside = name.split(['(', '（']).next().unwrap_or_default();
    let inside = name.split(['(', '（']).nth(1).unwrap_or_default();
    let found = rows(&words(outside)).or_else(|| rows(&words(inside)))?;
    let swells = found.iter().any(|row| row.swells);
    let columns = [0, 1, 2, 3].map(|at| {
        let mut column: Vec<f64> = found.iter().map(|row| row.figures[at]).collect();
        column.sort_by(f64::total_cmp);
        column
    });
    // Of many foods the odd ones are not meant: "apple" is no apple baked with sugar.
    let odd = if found.len() >= MANY { found.len() / ODD_SHARE } else { 0 };
    let least = columns.each_ref().map(|column| column[odd]);
    let most = columns.each_ref().map(|column| column[column.len() - 1 - odd]);
    // Only dry ones are known, or only cooked ones.
    let cooked = if swells && least[0] > LEAST_DRY_KCAL { COOKED_SHARE } else { 1.0 };
    let dry = if swells && most[0] < LEAST_DRY_KCAL { 1.0 / COOKED_SHARE } else { 1.0 };
    let (least, most) = (least.map(|figure| cooked * figure), most.map(|figure| dry * figure));
    let alike = !swells && least[0] > 0.0 && most[0] / least[0] <= SURE_SPREAD;
    Some(Match {
        least,
        most,
        usual: middle(&found),
        sure: alike && found.len() >= SURE_FOODS,
        foods: found.len(),
    })
}

impl Match {
    /// The figures that cannot be meant, by their names in a plan.
    pub(crate) fn faults(&self, found: Figures) -> Vec<&'static str> {
        const NAMES: [&str; 4] = ["calories", "protein", "carbs", "fats"];
        let factor = match self.foods {
            1 => SINGLE_FACTOR,
            _ if self.sure => SURE_FACTOR,
            _ => UNSURE_FACTOR,
        };
        let is_off = |at: &usize| {
            let low = self.least[*at] / factor - SLACK[*at];
            let high = self.most[*at] * factor + SLACK[*at];
            !(low..=high).contains(&found[*at])
        };
        (0..NAMES.len()).filter(is_off).map(|at| NAMES[at]).collect()
    }
}

/// The figures of the food whose energy is the median: those of one real food.
fn middle(rows: &[&Row]) -> Figures {
    let mut sorted: Vec<&&Row> = rows.iter().collect();
    sorted.sort_by(|a, b| a.figures[0].total_cmp(&b.figures[0]));
    sorted[sorted.len() / 2].figures
}

/// Rows whose name has all of these words and begins with one of them.
fn rows(words: &[String]) -> Option<Vec<&'static Row>> {
    if let [word] = words
        && VAGUE.contains(&word.as_str())
    {
        return None;
    }
    let first = words.iter().min_by_key(|word| REFERENCE.by_word.get(*word).map_or(0, Vec::len))?;
    let rows = REFERENCE.by_word.get(first)?.iter().map(|at| &REFERENCE.rows[*at]);
    let all = |row: &&Row| {
        words.iter().all(|word| row.words.contains(word))
            && row
                .words
                .first()
                .is_some_and(|head| words.contains(head) || HEADS.contains(&head.as_str()))
    };
    let found: Vec<&Row> = rows.filter(all).collect();
    // Where foods are that and nothing more, those that are more are other foods:
    // "banana" is no banana bread, but "firm tofu" is firm tofu prepared with calcium.
    let exact = |row: &&&Row| row.words.len() == words.len();
    let near = |row: &&&Row| row.words.len() <= words.len() + MORE_WORDS;
    let only_exact = words.len() == 1 && found.iter().filter(exact).count() > 1;
    let found: Vec<&Row> = if only_exact {
        found.iter().filter(exact).copied().collect()
    } else {
        found.iter().filter(near).copied().collect()
    };
    (!found.is_empty() && found.len() <= MOST).then_some(found)
}

/// The words of a name that say which food it is, in the singular.
fn words(name: &str) -> Vec<String> {
    let plain = token::plain(name);
    let mut words: Vec<String> = Vec::new();
    for word in plain.split(' ') {
        let number = word.starts_with(|c: char| c.is_ascii_digit());
        let word = singular(word);
        if !(word.is_empty()
            || number
            || IGNORED.contains(&word)
            || words.iter().any(|own| own == word))
        {
            words.push(word.to_owned());
        }
    }
    words
}

fn singular(word: &str) -> &str {
    match word {
        "berries" => "berry",
        _ if word.len() > 4 && word.ends_with("oes") => &word[..word.len() - 2],
        _ if word.len() > 3 && word.ends_with('s') && !word.ends_with("ss") => {
            &word[..word.len() - 1]
        }
        _ => word,
    }
}

fn load() -> Reference {
    let mut rows = Vec::new();
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
        let (Some(name), Some(kcal), Some(protein), Some(carbs), Some(fat)) =
            (fields.first(), number(3), number(4), number(5), number(6))
        else {
            continue;
        };
        let figures = [kcal, protein, carbs, fat].map(|per_100| per_100 / 100.0);
        let category = fields.get(2).copied().unwrap_or_default();
        if DISHES.iter().any(|group| category.contains(group)) {
            continue;
        }
        let swells = SWELLING.iter().any(|group| category.contains(group));
        rows.push(Row { words: words(name), figures, swells });
    }
    let mut by_word: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, row) in rows.iter().enumerate() {
        for word in &row.words {
            by_word.entry(word.clone()).or_default().push(at);
        }
    }
    Reference { rows, by_word }
}
