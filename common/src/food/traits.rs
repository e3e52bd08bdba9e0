//! What a food can be or contain that people may have to avoid: the 14
//! allergens of Regulation (EU) 1169/2011 Annex II (which include the nine of
//! the US FALCPA and FASTER acts), other frequent allergies and intolerances,
//! and what diets forbid.

use crate::lexicon::Bits;

macro_rules! traits {
    ($($(#[$doc:meta])* $variant:ident => $mark:literal $name:literal),+ $(,)?) => {
        /// Something a food is or contains.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Trait {
            $($(#[$doc])* $variant,)+
        }

        impl Trait {
            /// Every trait.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in the food tables.
            pub fn mark(self) -> &'static str {
                match self { $(Self::$variant => $mark),+ }
            }

            /// The name in messages and prompts.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

traits! {
    /// Cereals containing gluten: wheat, rye, barley, oats and their kin (EU 1).
    Gluten => "gluten" "gluten",
    /// Crustaceans (EU 2).
    Crustacean => "crustacean" "crustaceans",
    /// Eggs (EU 3).
    Egg => "egg" "eggs",
    /// Fish (EU 4).
    Fish => "fish" "fish",
    /// Peanuts (EU 5).
    Peanut => "peanut" "peanuts",
    /// Soybeans (EU 6).
    Soy => "soy" "soy",
    /// Milk, lactose included (EU 7).
    Milk => "milk" "milk",
    /// Tree nuts, pine nuts and chestnuts with them (EU 8).
    TreeNut => "tree-nut" "tree nuts",
    /// Celery and celeriac (EU 9).
    Celery => "celery" "celery",
    /// Mustard (EU 10).
    Mustard => "mustard" "mustard",
    /// Sesame (EU 11).
    Sesame => "sesame" "sesame",
    /// Sulphur dioxide and sulphites (EU 12).
    Sulphite => "sulphite" "sulphites",
    /// Lupin (EU 13).
    Lupin => "lupin" "lupin",
    /// Molluscs (EU 14).
    Mollusc => "mollusc" "molluscs",
    /// Wheat and its kin alone.
    Wheat => "wheat" "wheat",
    /// Lactose; milk without it is not a problem then.
    Lactose => "lactose" "lactose",
    /// Coconut: no tree nut here unless a person says so.
    Coconut => "coconut" "coconut",
    /// Maize.
    Corn => "corn" "corn",
    /// Buckwheat.
    Buckwheat => "buckwheat" "buckwheat",
    /// Beans, peas, lentils.
    Legume => "legume" "legumes",
    /// Chickpeas, apart from other pulses: many flours and dips are theirs.
    Chickpea => "chickpea" "chickpeas",
    /// Tomato.
    Tomato => "tomato" "tomato",
    /// Potato.
    Potato => "potato" "potato",
    /// Sweet and hot peppers.
    Capsicum => "capsicum" "peppers",
    /// Aubergine.
    Eggplant => "eggplant" "eggplant",
    /// Onion and its kin but garlic.
    Onion => "onion" "onion",
    /// Garlic.
    Garlic => "garlic" "garlic",
    /// Mushrooms.
    Mushroom => "mushroom" "mushrooms",
    /// Oranges, lemons and their kin.
    Citrus => "citrus" "citrus fruit",
    /// Banana and plantain.
    Banana => "banana" "banana",
    /// Avocado.
    Avocado => "avocado" "avocado",
    /// Cocoa and chocolate.
    Cocoa => "cocoa" "cocoa",
    /// Berries.
    Berry => "berry" "berries",
    /// Cherries, peaches, plums and their kin.
    StoneFruit => "stone-fruit" "stone fruit",
    /// Yeast.
    Yeast => "yeast" "yeast",
    /// Honey and other bee products.
    Honey => "honey" "honey",
    /// Alcohol.
    Alcohol => "alcohol" "alcohol",
    /// Caffeine.
    Caffeine => "caffeine" "caffeine",
    /// Gelatine.
    Gelatin => "gelatin" "gelatin",
    /// Pork.
    Pork => "pork" "pork",
    /// Beef and veal.
    Beef => "beef" "beef",
    /// Lamb, goat, venison and other red meat.
    Lamb => "lamb" "lamb and game",
    /// Chicken, turkey, duck and other birds.
    Poultry => "poultry" "poultry",
    /// The flesh, fat or bones of any land animal.
    Meat => "meat" "meat",
    /// Cheese.
    Cheese => "cheese" "cheese",
    /// Cured and processed meat.
    Processed => "processed" "processed meat",
    /// Any cereal.
    Grain => "grain" "grains",
    /// Starchy staples but cereals.
    Starch => "starch" "starchy foods",
    /// Sugar and what is mostly sugar.
    Sugar => "sugar" "added sugar",
    /// What is very sweet by nature: honey, dried fruit, juice.
    Sweet => "sweet" "very sweet foods",
    /// Vegetables, fruit and seeds that are nothing else in this list.
    Plant => "plant" "vegetables, fruit or seeds",
    /// Much fermentable carbohydrate, beside what other traits say.
    Fodmap => "fodmap" "fermentable carbohydrate",
    /// Vegetables that grow under the ground, potatoes and onions aside.
    Root => "root" "root vegetables",
    /// Fruit, berries and citrus with it.
    Fruit => "fruit" "fruit",
    /// Seeds that are eaten as such, sesame aside.
    Seed => "seed" "seeds",
}

/// A set of traits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Traits(pub(crate) Bits);

impl Traits {
    /// No trait.
    pub const NONE: Self = Self(0);
    /// Every trait there is.
    pub const EVERY: Self = Self::of(Trait::ALL);
    /// The allergens of EU Annex II.
    pub const EU_14: Self = Self(0x3fff);
    /// Traits that only say that a food is a plant: not an allergen, and no distinction
    /// between names.
    pub(crate) const PLAIN: Self =
        Self::of(&[Trait::Plant, Trait::Root, Trait::Fodmap, Trait::Fruit, Trait::Seed]);
    /// Traits that only diets use: declaring `beef` an allergy must not forbid all meat.
    pub const STYLE_ONLY: Self = Self::of(&[
        Trait::Cheese,
        Trait::Processed,
        Trait::Grain,
        Trait::Starch,
        Trait::Sugar,
        Trait::Plant,
        Trait::Root,
        Trait::Fodmap,
    ]);

    /// The set of these traits.
    pub const fn of(traits: &[Trait]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < traits.len() {
            bits |= 1 << traits[index] as u32;
            index += 1;
        }
        Self(bits)
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the trait is in the set.
    pub fn contains(self, one: Trait) -> bool {
        !self.and(Self::of(&[one])).is_empty()
    }

    /// The intersection.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The union.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The difference.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Its traits in the order of [`Trait::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Trait> {
        Trait::ALL.iter().copied().filter(move |one| self.contains(*one))
    }

    /// The set with everything that its members imply, as wheat implies gluten.
    #[must_use]
    pub fn with_implied(self) -> Self {
        IMPLIED.iter().fold(
            self,
            |set, (one, more)| {
                if set.contains(*one) { set.or(Self::of(more)) } else { set }
            },
        )
    }

    /// What "free from these" excludes besides them.
    #[must_use]
    pub fn ruled_out(self) -> Self {
        RULED_OUT.iter().fold(
            self,
            |set, (one, more)| {
                if set.contains(*one) { set.or(Self::of(more)) } else { set }
            },
        )
    }
}

const IMPLIED: &[(Trait, &[Trait])] = &[
    (Trait::Wheat, &[Trait::Gluten, Trait::Grain]),
    (Trait::Corn, &[Trait::Grain]),
    (Trait::Chickpea, &[Trait::Legume]),
    (Trait::Cheese, &[Trait::Milk]),
    (Trait::Milk, &[Trait::Lactose]),
    (Trait::Pork, &[Trait::Meat]),
    (Trait::Beef, &[Trait::Meat]),
    (Trait::Lamb, &[Trait::Meat]),
    (Trait::Poultry, &[Trait::Meat]),
    (Trait::Processed, &[Trait::Meat]),
    (Trait::Gelatin, &[Trait::Meat]),
    (Trait::Potato, &[Trait::Starch]),
    (Trait::Root, &[Trait::Plant]),
    (Trait::Citrus, &[Trait::Fruit]),
    (Trait::Banana, &[Trait::Fruit]),
    (Trait::Berry, &[Trait::Fruit]),
    (Trait::StoneFruit, &[Trait::Fruit]),
];

const RULED_OUT: &[(Trait, &[Trait])] = &[
    (Trait::Gluten, &[Trait::Wheat]),
    (Trait::Milk, &[Trait::Lactose, Trait::Cheese]),
    (Trait::Grain, &[Trait::Gluten, Trait::Wheat, Trait::Corn]),
    (
        Trait::Meat,
        &[Trait::Pork, Trait::Beef, Trait::Lamb, Trait::Poultry, Trait::Processed, Trait::Gelatin],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fourteen_are_the_eu_list() {
        assert_eq!(Traits::EU_14.iter().count(), 14);
        assert!(Traits::EU_14.contains(Trait::Gluten) && Traits::EU_14.contains(Trait::Mollusc));
        assert!(!Traits::EU_14.contains(Trait::Wheat));
    }

    #[test]
    fn implications_reach_their_end() {
        let cheese = Traits::of(&[Trait::Cheese]).with_implied();
        assert!(cheese.contains(Trait::Lactose));
        assert_eq!(cheese.with_implied(), cheese);
        for one in Trait::ALL {
            let set = Traits::of(&[*one]).with_implied();
            assert_eq!(set, set.with_implied(), "{one:?}");
        }
    }
}
