//! The nutrients of foods by USDA FoodData Central, with which a plan's values
//! are compared.
//!
//! For "brown rice" the reference has raw, cooked, dry and with fat: the value
//! of any of these is between the lowest and the highest of them. The closer
//! those are, the more certain the match, and the smaller the allowed
//! deviation. Embedded; no I/O.

use std::sync::LazyLock;

use regimen_common::lexicon::token;
use rustc_hash::FxHashMap;

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
/// Cooked or dry, of which each has a range of its own.
const SWELLING_FACTOR: f64 = 1.25;
/// The same as an amount per gram of food: kcal, protein, carbohydrate, fat.
const SLACK: Figures = [0.15, 0.03, 0.04, 0.03];
/// The share of energy out of protein, carbohydrate or fat may lie so far outside: water
/// changes all figures alike, and none of these.
const SHARE_SLACK: f64 = 0.2;
const SINGLE_SHARE_SLACK: f64 = 0.3;
/// With less energy a gram, rounding makes the shares.
const LEAST_SHARED_KCAL: f64 = 0.15;
/// Of so many foods a share at either end, one in so many, is left out.
const MANY: usize = 5;
const ODD_SHARE: usize = 6;
/// What is left of a gram's figures when dry grains or pulses have taken up water: the
/// least and the most.
const COOKED_SHARES: [f64; 2] = [0.3, 0.42];
/// Grains and pulses have more energy a gram when they are dry.
const LEAST_DRY_KCAL: f64 = 2.5;
/// Categories of such foods, and words of those in them that are not sold dry.
const SWELLING: [&str; 4] = ["Legume", "legumes", "Cereal Grains", "Pasta"];
const WET: [&str; 15] = [
    "tofu", "tempeh", "milk", "soymilk", "hummu", "sauce", "miso", "natto", "peanut", "butter",
    "oil", "curd", "yogurt", "edamame", "flour",
];
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
    /// The least and the most of all foods that may be meant, per gram; of a food that
    /// takes up water one range for the cooked and one for the dry.
    ranges: Vec<[Figures; 2]>,
    /// The same of the shares of their energy.
    shares: Option<[[f64; 3]; 2]>,
    /// The usual one: the median.
    pub(crate) usual: Figures,
    /// Whether all of them are nearly the same food.
    pub(crate) sure: bool,
    /// How many there are.
    foods: usize,
}

/// What a gram of one food of the reference has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Nutrients {
    /// kcal.
    pub(crate) calories: f64,
    /// g.
    pub(crate) protein: f64,
    /// g.
    pub(crate) carbs: f64,
    /// g.
    pub(crate) fats: f64,
    /// g; none where the reference does not say.
    pub(crate) fiber: f64,
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
    by_word: FxHashMap<String, Vec<usize>>,
}

static REFERENCE: LazyLock<Reference> = LazyLock::new(load);

/// The foods of the reference that a name may mean; none where it is not known.
pub(crate) fn of(name: &str) -> Option<Match> {
    // What stands in brackets is a form or the name in English.
    let outside = name.split(['(', '（']).next().unwrap_or_default();
    let inside = name.split(['(', '（']).nth(1).unwrap_or_default();
    let found = rows(&words(outside)).or_else(|| rows(&words(inside)))?;
    let all = range(found.iter().map(|row| row.figures))?;
    let swells = found.iter().any(|row| row.swells);
    let shares = range(found.iter().filter_map(|row| shares(row.figures)));
    let [least, most] = all;
    let alike = !swells && least[0] > 0.0 && most[0] / least[0] <= SURE_SPREAD;
    Some(Match {
        ranges: if swells { cooked_and_dry(&found) } else { vec![all] },
        shares,
        usual: middle(&found),
        sure: alike && found.len() >= SURE_FOODS,
        foods: found.len(),
    })
}

/// The least and the most of each figure. Of many foods the odd ones are not meant:
/// "apple" is no apple baked with sugar.
fn range<const N: usize>(all: impl Iterator<Item = [f64; N]>) -> Option<[[f64; N]; 2]> {
    let all: Vec<[f64; N]> = all.collect();
    let odd = if all.len() >= MANY { all.len() / ODD_SHARE } else { 0 };
    let mut range = [[0.0; N]; 2];
    for at in 0..N {
        let mut column: Vec<f64> = all.iter().map(|figures| figures[at]).collect();
        column.sort_by(f64::total_cmp);
        range[0][at] = *column.get(odd)?;
        range[1][at] = *column.iter().nth_back(odd)?;
    }
    Some(range)
}

/// The ranges of a food that takes up water, each as far as it is known, or by the water.
fn cooked_and_dry(found: &[&Row]) -> Vec<[Figures; 2]> {
    let is_dry = |row: &&&Row| row.figures[0] >= LEAST_DRY_KCAL;
    let dry = range(found.iter().filter(is_dry).map(|row| row.figures));
    let cooked = range(found.iter().filter(|row| !is_dry(row)).map(|row| row.figures));
    let [little, much] = COOKED_SHARES;
    let swollen =
        dry.map(|[least, most]| [least.map(|one| one * little), most.map(|one| one * much)]);
    let dried =
        cooked.map(|[least, most]| [least.map(|one| one / much), most.map(|one| one / little)]);
    let wide = match (cooked, swollen) {
        (Some([least, most]), Some([own_least, own_most])) => Some([
            std::array::from_fn(|at| f64::min(least[at], own_least[at])),
            std::array::from_fn(|at| f64::max(most[at], own_most[at])),
        ]),
        (known, swollen) => known.or(swollen),
    };
    wide.into_iter().chain(dry.or(dried)).collect()
}

/// The shares of protein, carbohydrate and fat in the energy.
fn shares([_, protein, carbs, fats]: Figures) -> Option<[f64; 3]> {
    let energy = [4.0 * protein, 4.0 * carbs, 9.0 * fats];
    let all: f64 = energy.iter().sum();
    (all > 0.0).then(|| energy.map(|part| part / all))
}

impl Match {
    /// The figures that cannot be meant, by their names in a plan.
    pub(crate) fn faults(&self, found: Figures) -> Vec<&'static str> {
        const NAMES: [&str; 4] = ["calories", "protein", "carbs", "fats"];
        let factor = match self.foods {
            _ if self.ranges.len() > 1 => SWELLING_FACTOR,
            1 => SINGLE_FACTOR,
            _ if self.sure => SURE_FACTOR,
            _ => UNSURE_FACTOR,
        };
        let outside = |[least, most]: &[Figures; 2]| {
            let is_off = |at: &usize| {
                let low = least[*at] / factor - SLACK[*at];
                let high = most[*at] * factor + SLACK[*at];
                !(low..=high).contains(&found[*at])
            };
            (0..NAMES.len()).filter(is_off).map(|at| NAMES[at]).collect::<Vec<_>>()
        };
        let nearest = self.ranges.iter().map(outside).min_by_key(Vec::len).unwrap_or_default();
        if nearest.is_empty() { self.odd_shares(found, NAMES) } else { nearest }
    }

    /// The macronutrients whose share of the energy is no such food's.
    fn odd_shares(&self, found: Figures, names: [&'static str; 4]) -> Vec<&'static str> {
        let slack = if self.foods == 1 { SINGLE_SHARE_SLACK } else { SHARE_SLACK };
        let (Some([least, most]), Some(own)) = (self.shares, shares(found)) else {
            return Vec::new();
        };
        if found[0] < LEAST_SHARED_KCAL {
            return Vec::new();
        }
        let is_off = |at: &usize| !(least[*at] - slack..=most[*at] + slack).contains(&own[*at]);
        (0..own.len()).filter(is_off).map(|at| names[at + 1]).collect()
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

/// The food with exactly this name in the reference.
pub(crate) fn row(name: &str) -> Option<Nutrients> {
    let is_it = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('\t'));
    let fields: Vec<&str> = TABLE.lines().find(is_it)?.split('\t').collect();
    let per_gram = |at: usize| Some(fields.get(at)?.parse::<f64>().ok()? / 100.0);
    Some(Nutrients {
        calories: per_gram(3)?,
        protein: per_gram(4)?,
        carbs: per_gram(5)?,
        fats: per_gram(6)?,
        fiber: per_gram(7).unwrap_or_default(),
    })
}

/// The words of a name, in the singular.
pub(crate) fn all_words(name: &str) -> Vec<String> {
    token::plain(name).split(' ').map(singular).map(str::to_owned).collect()
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
        let words = words(name);
        let swells = SWELLING.iter().any(|group| category.contains(group))
            && !words.iter().any(|word| WET.contains(&word.as_str()));
        rows.push(Row { words, figures, swells });
    }
    let mut by_word: FxHashMap<String, Vec<usize>> = FxHashMap::default();
    for (at, row) in rows.iter().enumerate() {
        for word in &row.words {
            by_word.entry(word.clone()).or_default().push(at);
        }
    }
    Reference { rows, by_word }
}
