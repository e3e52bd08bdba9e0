//! The dishes: the foods that go together, the name and the recipe. `{0}`,
//! `{1}` … are replaced by the foods chosen for the dish.

/// The meal of a dish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    Breakfast,
    Main,
    Snack,
}

/// A dish before its foods are chosen.
#[derive(Debug)]
pub(super) struct Dish {
    pub(super) course: Course,
    /// Its name.
    pub(super) name: &'static str,
    /// The roles of its foods, in the order of the placeholders.
    pub(super) places: &'static [&'static str],
    /// Its recipe.
    pub(super) recipe: &'static str,
    /// Preparation time in minutes.
    pub(super) minutes: u32,
    /// easy, medium or hard.
    pub(super) difficulty: &'static str,
    pub(super) tags: &'static [&'static str],
    pub(super) tip: &'static str,
}

/// All dishes.
pub(super) const DISHES: &[Dish] = &[
    Dish {
        course: Course::Breakfast,
        name: "{0} bowl with {2} and {3}",
        places: &["spoonable", "breakfast_carb", "fruit", "topping"],
        recipe: "1. Spoon the {0} into a bowl. 2. Stir in the {1} and let it soften for five minutes. 3. Top with the {2} and scatter the {3} over it.",
        minutes: 10,
        difficulty: "easy",
        tags: &["no-cook", "high-protein"],
        tip: "Put it together the evening before and keep it covered in the fridge.",
    },
    Dish {
        course: Course::Breakfast,
        name: "Warm {0} with {2} and {3}",
        places: &["porridge", "powder", "fruit", "topping"],
        recipe: "1. Simmer the {0} in water for six minutes. 2. Take the pan off the heat and whisk in the {1}. 3. Fold in half of the {2}. 4. Serve with the rest and the {3} on top.",
        minutes: 12,
        difficulty: "easy",
        tags: &["warm", "filling"],
        tip: "Let the pan cool for a minute before the powder goes in, so that it stays smooth.",
    },
    Dish {
        course: Course::Breakfast,
        name: "{0} scramble with {1} and {2}",
        places: &["egg_dish", "veg", "raw_veg", "breakfast_carb", "oil"],
        recipe: "1. Heat the {4} in a pan. 2. Soften the {1} for four minutes. 3. Add the {0} and stir gently until set. 4. Serve with the {2} and the {3} on the side.",
        minutes: 15,
        difficulty: "easy",
        tags: &["savoury", "quick"],
        tip: "Low heat keeps it tender.",
    },
    Dish {
        course: Course::Breakfast,
        name: "{1} plate with {0} and {2}",
        places: &["breakfast_protein", "breakfast_carb", "raw_veg", "topping", "snack_fruit"],
        recipe: "1. Warm the {1}. 2. Arrange the {0} and the sliced {2} beside it. 3. Add the {3} and season. 4. Eat the {4} afterwards.",
        minutes: 8,
        difficulty: "easy",
        tags: &["quick", "packable"],
        tip: "It travels well in a lunch box.",
    },
    Dish {
        course: Course::Breakfast,
        name: "{1} and {2} smoothie bowl",
        places: &["powder", "fruit", "berry", "topping", "breakfast_carb"],
        recipe: "1. Blend the {0}, the {1} and half of the {2} with cold water until thick. 2. Pour into a bowl. 3. Finish with the rest of the {2}, the {4} and the {3}.",
        minutes: 7,
        difficulty: "easy",
        tags: &["fresh", "high-protein"],
        tip: "Frozen fruit makes it thick without ice.",
    },
    Dish {
        course: Course::Main,
        name: "{0} and {1} bowl with {2}",
        places: &["main_protein", "grain", "veg", "raw_veg", "topping", "oil"],
        recipe: "1. Cook the {1}. 2. Season the {0} and brown it in the {5}. 3. Steam the {2} for four minutes. 4. Build the bowl with the sliced {3} and finish with the {4}.",
        minutes: 25,
        difficulty: "easy",
        tags: &["high-protein", "meal-prep"],
        tip: "Cook a double amount of the base and use it again tomorrow.",
    },
    Dish {
        course: Course::Main,
        name: "Sheet-pan {0} with {1} and {2}",
        places: &["main_protein", "root", "veg", "raw_veg", "oil"],
        recipe: "1. Heat the oven to 210 C. 2. Toss the {1} in half of the {4} and roast for fifteen minutes. 3. Add the {0}, the {2} and the {3} with the rest of the {4}. 4. Roast for another fifteen minutes and season.",
        minutes: 40,
        difficulty: "easy",
        tags: &["one-pan", "oven"],
        tip: "Spread everything in one layer so that it browns.",
    },
    Dish {
        course: Course::Main,
        name: "{0} from the wok with {2}, {3} and {1}",
        places: &["main_protein", "grain", "veg", "veg", "oil"],
        recipe: "1. Cook the {1} and keep it warm. 2. Sear the {0} in the {4} over high heat and set it aside. 3. Stir-fry the {2} and the {3} for five minutes. 4. Bring everything together and season.",
        minutes: 22,
        difficulty: "medium",
        tags: &["quick", "wok"],
        tip: "Have everything cut before the pan is hot.",
    },
    Dish {
        course: Course::Main,
        name: "{0} salad with {1}, {2} and {3}",
        places: &["main_protein", "bean", "leaf", "raw_veg", "main_carb", "oil"],
        recipe: "1. Rinse and drain the {1}. 2. Tear or slice the {2} and cut the {3}. 3. Cook the {0} and let it rest. 4. Toss everything with the {5}. 5. Serve with the {4}.",
        minutes: 18,
        difficulty: "easy",
        tags: &["fresh", "high-fibre"],
        tip: "Dress it just before you eat.",
    },
    Dish {
        course: Course::Main,
        name: "{0} stew with {1} and {2}",
        places: &["main_protein", "bean", "veg", "raw_veg", "main_carb", "oil"],
        recipe: "1. Soften the {3} in the {5}. 2. Add the {0} and let it take colour. 3. Add the {1}, the {2} and a cup of water. 4. Simmer for twenty minutes. 5. Serve with the {4}.",
        minutes: 38,
        difficulty: "medium",
        tags: &["batch", "warming"],
        tip: "It tastes better on the second day.",
    },
    Dish {
        course: Course::Main,
        name: "{1} with {0}, {2} and {3}",
        places: &["main_protein", "pasta", "veg", "raw_veg", "oil"],
        recipe: "1. Cook the {1} until just done and keep a little of the water. 2. Brown the {0} in the {4}. 3. Add the {2} and the {3} for five minutes. 4. Toss with the {1} and loosen with the water.",
        minutes: 25,
        difficulty: "easy",
        tags: &["family", "carb-rich"],
        tip: "A spoon of the cooking water binds the dish.",
    },
    Dish {
        course: Course::Main,
        name: "Soft {1} with {0}, {2} and {3}",
        places: &["main_protein", "bread", "leaf", "raw_veg", "topping"],
        recipe: "1. Warm the {1}. 2. Season the {0} and cook it through. 3. Slice the {2} and the {3}. 4. Fill, add the {4} and serve.",
        minutes: 20,
        difficulty: "easy",
        tags: &["handheld", "quick"],
        tip: "Keep the filling and the base apart until you eat.",
    },
    Dish {
        course: Course::Main,
        name: "Herbed {0} with {1} and {2}",
        places: &["main_protein", "main_carb", "veg", "leaf", "oil"],
        recipe: "1. Rub the {0} with dried herbs. 2. Cook it in the {4} until done. 3. Steam the {2} and wilt the {3}. 4. Plate with the {1}.",
        minutes: 28,
        difficulty: "medium",
        tags: &["balanced", "dinner"],
        tip: "Let it rest for three minutes before slicing.",
    },
    Dish {
        course: Course::Main,
        name: "{0} with {1}, {2} and {3}",
        places: &["main_protein", "veg", "veg", "leaf", "topping", "berry", "oil"],
        recipe: "1. Roast the {1} and the {2} in half of the {6} at 200 C for twenty minutes. 2. Cook the {0} in the rest. 3. Plate over the {3} and top with the {4}. 4. Finish with the {5}.",
        minutes: 32,
        difficulty: "medium",
        tags: &["vegetable-rich", "grain-free"],
        tip: "Roast enough vegetables for two days.",
    },
    Dish {
        course: Course::Snack,
        name: "{0} with {1}",
        places: &["snack_fruit", "nut"],
        recipe: "1. Cut the {0} into pieces. 2. Serve with the {1}.",
        minutes: 3,
        difficulty: "easy",
        tags: &["portable"],
        tip: "Pack it in the morning.",
    },
    Dish {
        course: Course::Snack,
        name: "{0} with {1}",
        places: &["spoonable", "berry"],
        recipe: "1. Spoon the {0} into a glass. 2. Layer with the {1}.",
        minutes: 3,
        difficulty: "easy",
        tags: &["high-protein"],
        tip: "Keep it cold until you eat.",
    },
    Dish {
        course: Course::Snack,
        name: "{1} and {0} shake",
        places: &["powder", "fruit"],
        recipe: "1. Blend the {0} and the {1} with cold water until smooth.",
        minutes: 4,
        difficulty: "easy",
        tags: &["after-training"],
        tip: "Rinse the blender at once.",
    },
    Dish {
        course: Course::Snack,
        name: "{0} with {1} and {2}",
        places: &["snack_protein", "raw_veg", "nut"],
        recipe: "1. Slice the {1}. 2. Arrange it with the {0} and the {2}.",
        minutes: 5,
        difficulty: "easy",
        tags: &["savoury"],
        tip: "A small box with a lid keeps it crisp.",
    },
    Dish {
        course: Course::Snack,
        name: "{0} and {1} mix",
        places: &["berry", "topping"],
        recipe: "1. Rinse the {0}. 2. Mix with the {1}.",
        minutes: 3,
        difficulty: "easy",
        tags: &["light"],
        tip: "Weigh the topping: small amounts count.",
    },
];

impl Dish {
    /// `template` with the names of the chosen foods.
    pub(super) fn fill(template: &str, foods: &[&str]) -> String {
        let mut text = template.to_owned();
        for (index, food) in foods.iter().enumerate() {
            text = text.replace(&format!("{{{index}}}"), food);
        }
        let mut letters = text.chars();
        letters
            .next()
            .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::food::load;
    use super::*;

    #[test]
    fn every_place_has_foods_and_every_placeholder_a_place() {
        let foods = load().unwrap();
        for dish in DISHES {
            for role in dish.places {
                assert!(foods.iter().filter(|food| food.is(role)).count() >= 2, "{role}");
            }
            let names = vec!["x"; dish.places.len()];
            for template in [dish.name, dish.recipe, dish.tip] {
                assert!(!Dish::fill(template, &names).contains('{'), "{template}");
            }
        }
    }

    #[test]
    fn names_start_with_a_capital() {
        assert_eq!(Dish::fill("{0} with {1}", &["apple", "walnuts"]), "Apple with walnuts");
    }
}
