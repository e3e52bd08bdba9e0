//! The closed sets of words in plans: one spelling for JSON and schema, which
//! is the one that the app shows or has an icon for. Parsing ignores case,
//! because replies without structured output vary it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Defines an enum whose schema is a plain list of strings.
macro_rules! word {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident => $name:literal $(| $other:literal)*),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $type {
            /// Every word of the set, in the order of the schema.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The spelling in JSON.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The word meant by `text`, whatever its case and separators; other
            /// names for it, of earlier releases too, are understood.
            pub fn read(text: &str) -> Option<Self> {
                let asked = plain(text);
                let names: &[(Self, &[&str])] = &[$((Self::$variant, &[$name $(, $other)*])),+];
                let known = |names: &[&str]| names.iter().any(|name| plain(name) == asked);
                names.iter().find(|(_, names)| known(names)).map(|(word, _)| *word)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                Self::read(&text).ok_or_else(|| {
                    serde::de::Error::unknown_variant(
                        &text.chars().take(40).collect::<String>(),
                        &[$($name),+],
                    )
                })
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "enum": [$($name),+] })
            }
        }
    };
}

/// Lower case, words joined by `_`.
fn plain(text: &str) -> String {
    text.trim()
        .chars()
        .map(|c| if c == ' ' || c == '-' { '_' } else { c.to_ascii_lowercase() })
        .collect()
}

word! {
    /// The place of a meal in the day.
    MealType {
        /// The first meal.
        Breakfast => "breakfast",
        /// The midday meal.
        Lunch => "lunch",
        /// The evening meal.
        Dinner => "dinner",
        /// Anything between.
        Snack => "snack",
    }
}

word! {
    /// How hard a meal is to cook.
    Difficulty {
        /// Needs no skill.
        Easy => "easy",
        /// Needs some practice.
        Medium => "medium",
        /// Needs an experienced cook.
        Advanced => "advanced" | "hard",
    }
}

word! {
    /// A day of the week.
    Day {
        /// Monday.
        Monday => "Monday",
        /// Tuesday.
        Tuesday => "Tuesday",
        /// Wednesday.
        Wednesday => "Wednesday",
        /// Thursday.
        Thursday => "Thursday",
        /// Friday.
        Friday => "Friday",
        /// Saturday.
        Saturday => "Saturday",
        /// Sunday.
        Sunday => "Sunday",
    }
}

word! {
    /// What a training day is mainly for.
    WorkoutType {
        /// Resistance training.
        Strength => "Strength",
        /// Endurance.
        Cardio => "Cardio",
        /// Intervals.
        Hiit => "HIIT",
        /// Stretching, yoga, joint care.
        Mobility => "Mobility",
        /// Strength and endurance in one session.
        Mixed => "Mixed",
    }
}

word! {
    /// Where a session takes place.
    Place {
        /// A gym with machines.
        Gym => "Gym",
        /// At home.
        Home => "Home",
        /// Outside: park, street, track.
        Outdoor => "Outdoor",
    }
}

word! {
    /// How hard a session is.
    Intensity {
        /// Conversation is easy.
        Low => "low",
        /// Conversation is broken.
        Moderate => "moderate",
        /// Conversation is not possible.
        High => "high",
    }
}

word! {
    /// What an exercise trains.
    Category {
        /// Several joints at once against resistance, jumps and throws included.
        Compound => "compound" | "strength" | "plyometric" | "power",
        /// One group of muscles, the trunk included.
        Isolation => "isolation" | "core",
        /// Endurance.
        Cardio => "cardio" | "endurance",
        /// Range of motion, balance and coordination.
        Mobility => "mobility" | "balance" | "flexibility",
    }
}

word! {
    /// Who an exercise suits.
    Level {
        /// No experience needed.
        Beginner => "beginner",
        /// Some months of training.
        Intermediate => "intermediate",
        /// Years of training.
        Advanced => "advanced",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_in_any_case_and_written_in_one() {
        assert_eq!(MealType::read(" Breakfast "), Some(MealType::Breakfast));
        assert_eq!(MealType::read("brunch"), None);
        assert_eq!(serde_json::to_string(&Day::Monday).unwrap(), "\"Monday\"");
        assert_eq!(Day::read("MONDAY"), Some(Day::Monday));
        assert_eq!(Category::read("Plyometric"), Some(Category::Compound));
        assert_eq!(Category::read("core"), Some(Category::Isolation));
        assert_eq!(Difficulty::read("hard"), Some(Difficulty::Advanced));
        assert_eq!(WorkoutType::read("hiit"), Some(WorkoutType::Hiit));
        let error = serde_json::from_str::<Day>("\"Someday\"").unwrap_err();
        assert!(error.to_string().contains("`Monday`"), "{error}");
    }
}
