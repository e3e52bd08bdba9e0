//! A plan with a declared allergen cannot pass: ten thousand random plans, each
//! with an allergen in a random text, in a random form and spelling. Plans
//! without one must pass.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use super::tests::needs;
use super::*;
use crate::plan::{MealPlan, sample};
use regimen_common::food::Avoid;

const RUNS: u64 = 10_000;

/// How people declare an allergen | how plans name it. Written without a look
/// at the tables.
const ALLERGENS: &str = "\
peanuts; no peanuts!!; PEANUT allergy; allergic to penauts; Erdnüsse; cacahuetes | peanuts; peanut butter; groundnut oil; satay sauce; peanut flour; monkey nuts; crushed peanuts; roasted peanut halves
nuts; tree nuts; no nuts please; treenuts and pollen; frutos secos | almonds; walnut halves; cashew butter; pecans; hazelnuts; pistachios; marzipan; macadamia nuts; pine nuts; almond milk; nut butter; brazil nuts; basil pesto; praline
milk; dairy; Dairy!; diary; milk protein; lactose/dairy; Milch | milk; butter; ghee; Greek yogurt; yoghurt; cheddar; feta cheese; mozzarella; whey protein; cream; kefir; paneer; casein; parmesan; crème fraîche; halloumi; custard
lactose intolerant; lactose; lactos intolerance | milk; ice cream; cottage cheese; buttermilk; sour cream; condensed milk; ricotta
eggs; egg; egg allergy; huevos; no eggs | eggs; egg whites; omelette; mayonnaise; meringue; scrambled eggs; frittata; hollandaise; aioli; quiche; egg noodles
gluten; coeliac; celiac disease; glutin; gluten intolerance | bread; whole wheat pasta; couscous; barley; rye crackers; seitan; bulgur; soy sauce; flour tortillas; panko; oats; spelt; noodles; beer
soy; soya; soybeans; tofu and soy | tofu; soy sauce; edamame; tempeh; miso; soy milk; tamari; soya chunks; teriyaki sauce
fish; fish allergy; allergic to fish; pescado | salmon; tuna; cod; anchovies; worcestershire sauce; fish sauce; sardines; mackerel; trout; caesar dressing
shellfish; shelfish; crustaceans, molluscs; Mariscos | shrimp; prawns; crab; lobster; mussels; clams; oysters; scallops; squid; calamari; crayfish; octopus
sesame; sesame seeds; Sesam | tahini; sesame seeds; hummus; sesame oil; halva; za'atar; gomasio; everything bagel
mustard; senf | mustard; Dijon; mustard seeds; honey mustard; vinaigrette
celery; celery and celeriac | celery; celeriac; vegetable stock; celery salt; bouillon cube
lupin; lupine | lupin flour; lupini beans
sulphites; sulfites | dried apricots; white wine; balsamic vinegar; sulphites
kiwi; kiwis, mango | kiwi; kiwis; sliced kiwi
passion fruit | passion fruit; passionfruit";

/// Foods without any of the above, for everybody.
const CLEAN: &str = "Chicken breast; Turkey breast; Lean beef; Pork loin; Lamb chop; Brown rice; \
White rice; Quinoa; Millet; Sweet potato; Potatoes; Polenta; Corn tortillas; Black beans; Lentils; \
Chickpeas; Broccoli; Spinach; Kale; Carrots; Courgette; Cauliflower rice; Butternut squash; \
Eggplant; Water chestnuts; Oyster mushrooms; WakeUpKey peppers; Tomatoes; Cucumber; Avocado; Olive oil; \
Coconut milk; Coconut yoghurt (dairy-free); Rice milk; Banana; Apple; Blueberries; Pumpkin seeds; \
Sunflower seeds; Chia seeds; Butter beans; Cream of tartar; Buckwheat; Rice noodles; \
Nutritional yeast; Nutmeg; Cocoa powder; Maple syrup; Green tea; Red onion";

/// Sentences in which nothing is served that is not clean.
const PROSE: &str = "Toast the seeds in a dry pan until golden.; \
Wrap the potatoes in foil and bake for forty minutes.; Season with salt & pepper and serve warm.; \
Stir-fry over high heat, then let it rest.; Check labels for allergens before you buy.; \
Cook twice the amount and chill half of it within an hour.; Keeps for three days in a sealed box.; \
1. Rinse the rice. 2. Simmer for 15 minutes. 3. Fluff it with a fork.; \
Eat slowly and stop when you are full.";

/// One item of a list.
fn pick<'a>(rng: &mut StdRng, list: &'a str) -> &'a str {
    let items: Vec<_> = list.split("; ").collect();
    items[rng.random_range(0..items.len())].trim()
}

/// What somebody declares, and a form in which a plan names it.
fn pick_allergen(rng: &mut StdRng) -> (&'static str, &'static str) {
    let lines: Vec<_> = ALLERGENS.lines().collect();
    let (declared, forms) = lines[rng.random_range(0..lines.len())].split_once('|').unwrap();
    (pick(rng, declared), pick(rng, forms))
}

/// A day of random clean foods and sentences; its sums do not matter here.
fn random_day(rng: &mut StdRng) -> MealPlan {
    let mut day = sample::meal_plan();
    let base = day.meals[0].clone();
    let meal = |rng: &mut StdRng| {
        let mut meal = base.clone();
        let foods = rng.random_range(1..=6);
        meal.foods = (0..foods).map(|_| sample::food(pick(rng, CLEAN), 5.0, 5.0, 5.0)).collect();
        meal.meal_name = format!("{} with {}", pick(rng, CLEAN), pick(rng, CLEAN).to_lowercase());
        meal.recipe = format!("{} {}", pick(rng, PROSE), pick(rng, PROSE));
        meal.tips = vec![pick(rng, PROSE).to_owned()];
        meal
    };
    day.meals = (0..rng.random_range(2..=6)).map(|_| meal(rng)).collect();
    day.shopping_list.vegetables = (0..6).map(|_| format!("{}, 200 g", pick(rng, CLEAN))).collect();
    day.personalized_tips = (0..3).map(|_| pick(rng, PROSE).to_owned()).collect();
    day
}

/// Every free text of the plan, and whether it is a portion; without the
/// variance, which repair writes anew.
fn texts<'v>(value: &'v mut Value, key: &str, out: &mut Vec<(bool, &'v mut String)>) {
    match value {
        Value::String(text) if !matches!(key, "meal_type" | "difficulty" | "variance") => {
            out.push((key == "portion", text));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| texts(item, key, out)),
        Value::Object(members) => {
            members.iter_mut().for_each(|(key, member)| texts(member, key, out));
        }
        _ => {}
    }
}

/// The same food, written differently.
fn respelled(rng: &mut StdRng, form: &str) -> String {
    let chars: Vec<char> = form.chars().collect();
    let behind = |rng: &mut StdRng, mark: char| {
        let at = rng.random_range(0..chars.len());
        let marked = chars.iter().enumerate().flat_map(|(i, c)| {
            [Some(*c), (i == at && c.is_alphabetic()).then_some(mark)].into_iter().flatten()
        });
        marked.collect()
    };
    match rng.random_range(0..9) {
        0 => form.to_uppercase(),
        1 => form[..1].to_uppercase() + &form[1..],
        2 => form.replace(' ', "-"),
        3 => behind(rng, '\u{200b}'),
        4 => behind(rng, '\u{301}'),
        5 => form.replace('a', "\u{430}").replace('o', "\u{43e}"),
        6 => form.replace(' ', "\u{a0} "),
        7 => mistyped(rng, chars),
        _ => form.to_owned(),
    }
}

/// Two letters swapped inside a long word, as a quick typist does.
fn mistyped(rng: &mut StdRng, mut chars: Vec<char>) -> String {
    let one_word = chars.iter().all(|c| c.is_alphabetic());
    if one_word && chars.len() >= 8 {
        let at = rng.random_range(1..chars.len() - 2);
        chars.swap(at, at + 1);
    }
    chars.into_iter().collect()
}

/// The day with the food in one of its texts, and that text.
fn inject(rng: &mut StdRng, day: &MealPlan, form: &str) -> (MealPlan, String) {
    let mut json = serde_json::to_value(day).unwrap();
    let mut places = Vec::new();
    texts(&mut json, "", &mut places);
    let index = rng.random_range(0..places.len());
    let (portion, text) = &mut places[index];
    **text = match rng.random_range(0..6) {
        // Alone it may only repeat the name: a portion "milk" of rice milk.
        0 if !*portion => form.to_owned(),
        1 => format!("{text}, {form}"),
        2 => format!("{text} and {form}"),
        3 => format!("{form}; {text}"),
        4 => format!("{text}. Stir in the {form} and serve."),
        _ => format!("{text}\n- 2 tbsp {form}"),
    };
    let text = text.clone();
    (serde_json::from_value(json).unwrap(), text)
}

#[test]
fn no_plan_with_a_declared_allergen_passes() {
    let base = needs();
    for run in 0..RUNS {
        let mut rng = StdRng::seed_from_u64(run);
        let (declared, form) = pick_allergen(&mut rng);
        let form = respelled(&mut rng, form);
        let day = random_day(&mut rng);
        let (day, text) = inject(&mut rng, &day, &form);
        let needs = Needs { allergies: Avoid::allergies(declared), ..base.clone() };
        let mut plan = Plan::Meal(Box::new(day));
        repair(&mut plan, &needs);
        let verdict = fit(&plan, &needs);
        assert!(verdict.is_dangerous(), "run {run}: {declared:?} let {form:?} pass in {text:?}");
    }
}

#[test]
fn clean_plans_are_not_refused_for_allergens() {
    let base = needs();
    let runs = 1_000;
    let mut refused = 0;
    for run in 0..runs {
        let mut rng = StdRng::seed_from_u64(1_000_000 + run);
        let (declared, _) = pick_allergen(&mut rng);
        let needs = Needs { allergies: Avoid::allergies(declared), ..base.clone() };
        let plan = Plan::Meal(Box::new(random_day(&mut rng)));
        let verdict = fit(&plan, &needs);
        if verdict.is_dangerous() {
            println!("{declared:?}: {:?}", verdict.violations);
            refused += 1;
        }
    }
    println!("{refused} of {runs} clean plans refused for an allergen");
    assert!(refused * 200 <= runs, "more than half a percent of clean plans are refused");
}
