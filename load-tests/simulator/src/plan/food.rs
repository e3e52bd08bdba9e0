//! The foods of meals.

use serde::Serialize;

use super::table::{self, TableError};

/// A food, with its values for 100 g as eaten.
#[derive(Debug, Clone)]
pub(crate) struct Food {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its possible roles in a dish.
    pub(crate) roles: Vec<&'static str>,
    /// Protein, carbohydrates, fat and fibre in 100 g, in g.
    pub(crate) per_100: [f64; 4],
    /// The kitchen measure and its weight in g.
    pub(crate) unit: (&'static str, f64),
    /// A usual portion, g.
    pub(crate) usual: f64,
    /// The largest plausible portion, g.
    pub(crate) most: f64,
    /// Allergens in it.
    pub(crate) contains: Vec<&'static str>,
    /// plant, dairy, egg, fish, shellfish, poultry or meat.
    pub(crate) origin: &'static str,
    /// The restrictive diets it fits: keto, paleo.
    pub(crate) styles: Vec<&'static str>,
}

/// An amount of a food in a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Portion {
    pub(crate) name: String,
    pub(crate) portion: String,
    pub(crate) grams: f64,
    pub(crate) calories: f64,
    pub(crate) protein: f64,
    pub(crate) carbs: f64,
    pub(crate) fats: f64,
    pub(crate) fiber: f64,
}

/// Every food of the table.
///
/// # Errors
/// A row is malformed.
pub(crate) fn load() -> Result<Vec<Food>, TableError> {
    table::rows("foods.tsv", include_str!("foods.tsv"), |row| {
        Ok(Food {
            name: row.text()?,
            roles: row.list()?,
            per_100: [row.number()?, row.number()?, row.number()?, row.number()?],
            unit: (row.text()?, row.number()?),
            usual: row.number()?,
            most: row.number()?,
            contains: row.list()?,
            origin: row.text()?,
            styles: row.list()?,
        })
    })
}

impl Food {
    /// Whether it can have `role` in a dish.
    pub(crate) fn is(&self, role: &str) -> bool {
        self.roles.contains(&role)
    }

    /// kcal, protein, carbohydrates and fat of one gram.
    pub(crate) fn per_gram(&self) -> [f64; 4] {
        let [protein, carbs, fat, _] = self.per_100;
        let energy = 4.0 * protein + 4.0 * carbs + 9.0 * fat;
        [energy, protein, carbs, fat].map(|value| value / 100.0)
    }

    /// `grams` rounded as with kitchen scales: whole grams, from 40 g multiples of five.
    pub(crate) fn weighable(&self, grams: f64) -> f64 {
        if grams < 40.0 { grams.round() } else { (grams / 5.0).round() * 5.0 }
    }

    /// The portion of `grams`, with the energy of its rounded macros.
    pub(crate) fn portion(&self, grams: f64) -> Portion {
        let [protein, carbs, fats, fiber] = self.per_100.map(|value| tenths(value * grams / 100.0));
        Portion {
            name: self.name.to_owned(),
            portion: self.measure(grams),
            grams,
            calories: (4.0 * protein + 4.0 * carbs + 9.0 * fats).round(),
            protein,
            carbs,
            fats,
            fiber,
        }
    }

    /// `grams` in this food's kitchen measure, to the nearest quarter.
    fn measure(&self, grams: f64) -> String {
        let (unit, weight) = self.unit;
        let quarters = (4.0 * grams / weight).round().max(1.0) / 4.0;
        let plural = if quarters > 1.0 && !unit.ends_with('s') { "s" } else { "" };
        format!("{quarters} {unit}{plural} ({grams} g)").replace("halfs", "halves")
    }
}

/// `value` to one decimal.
pub(crate) fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLERGENS: [&str; 9] =
        ["milk", "egg", "fish", "shellfish", "peanut", "treenut", "gluten", "soy", "sesame"];

    #[test]
    fn the_table_reads_and_its_rows_are_plausible() {
        let foods = load().unwrap();
        assert!(foods.len() >= 60, "{}", foods.len());
        for food in &foods {
            let [protein, carbs, fat, fiber] = food.per_100;
            assert!(protein + carbs + fat <= 100.5, "{}: more than its own weight", food.name);
            assert!(fiber <= carbs + 0.01, "{}: fibre is part of the carbohydrates", food.name);
            assert!(food.usual <= food.most && food.unit.1 > 0.0, "{}", food.name);
            assert!(food.contains.iter().all(|word| ALLERGENS.contains(word)), "{}", food.name);
        }
    }

    #[test]
    fn a_portion_has_the_energy_of_its_macros() {
        for food in load().unwrap() {
            let portion = food.portion(food.usual);
            let energy = 4.0 * portion.protein + 4.0 * portion.carbs + 9.0 * portion.fats;
            assert!((portion.calories - energy).abs() <= 0.5, "{portion:?}");
        }
    }

    #[test]
    fn measures_read_naturally() {
        let foods = load().unwrap();
        let rice = foods.iter().find(|food| food.name == "brown rice").unwrap();
        assert_eq!(rice.portion(195.0).portion, "1 cup (195 g)");
        assert_eq!(rice.portion(290.0).portion, "1.5 cups (290 g)");
    }
}
