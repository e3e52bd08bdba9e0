//! Equipment and body parts of exercises, found by their names.
//!
//! The knowledge is in `data/*.txt`, written by hand. An exercise is marked
//! with a body part when it loads that part so much that common rehabilitation
//! advice excludes it during an injury: impact and deep bends for knees, loaded
//! hinges, twists and spinal flexion for the lower back, overhead and deep
//! pressing for shoulders, weight on the hands for wrists.

mod denial;

use std::sync::LazyLock;

use regimen_common::lexicon::token::{Token, tokens};
use regimen_common::lexicon::{Bits, Entry, Lexicon, Marks, Problem};
use regimen_common::safety::injured_parts;

use denial::Denials;

macro_rules! kinds {
    ($(#[$doc:meta])* $type:ident from $first:literal { $($(#[$variant_doc:meta])* $variant:ident => $mark:literal $name:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $type {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in messages.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            fn mark(self) -> &'static str {
                match self { $(Self::$variant => $mark),+ }
            }

            const fn bit(self) -> Bits {
                1 << ($first + self as u32)
            }
        }
    };
}

kinds! {
    /// Equipment that not everybody has.
    Gear from 0 {
        /// Free weights for the hand.
        Dumbbell => "dumbbell" "dumbbells",
        /// A long bar with plates, and racks.
        Barbell => "barbell" "a barbell",
        /// Kettlebells.
        Kettlebell => "kettlebell" "a kettlebell",
        /// Resistance bands.
        Band => "band" "resistance bands",
        /// A bar to hang from.
        PullUpBar => "pull-up-bar" "a pull-up bar",
        /// A weight bench.
        Bench => "bench" "a bench",
        /// Weight machines and dip stations.
        Machine => "machine" "gym machines",
        /// Cable pulleys.
        Cable => "cable" "a cable machine",
        /// A treadmill.
        Treadmill => "treadmill" "a treadmill",
        /// A stationary bike.
        Bike => "bike" "a stationary bike",
        /// A rowing machine.
        Rower => "rower" "a rowing machine",
        /// Elliptical and stair machines.
        Elliptical => "elliptical" "an elliptical trainer",
        /// A bicycle.
        Bicycle => "bicycle" "a bicycle",
        /// A jump rope.
        Rope => "rope" "a jump rope",
        /// Medicine and slam balls.
        MedicineBall => "medicine-ball" "a medicine ball",
        /// Stability balls.
        SwissBall => "swiss-ball" "a stability ball",
        /// A foam roller.
        Roller => "roller" "a foam roller",
        /// Suspension straps or rings.
        Suspension => "suspension" "a suspension trainer",
        /// A plyometric box.
        Box => "box" "a plyometric box",
        /// An ab wheel.
        Wheel => "wheel" "an ab wheel",
        /// A sandbag.
        Sandbag => "sandbag" "a sandbag",
        /// A weighted vest.
        Vest => "vest" "a weighted vest",
        /// Battle ropes and sleds.
        BattleRope => "battle-rope" "battle ropes or a sled",
        /// A swimming pool.
        Pool => "pool" "a pool",
    }
}

kinds! {
    /// A part of the body that an exercise can load.
    Region from 32 {
        /// Knees.
        Knee => "knee" "knee",
        /// Lower back.
        LowerBack => "lower-back" "lower back",
        /// Shoulders.
        Shoulder => "shoulder" "shoulder",
        /// Wrists and hands.
        Wrist => "wrist" "wrist",
        /// Elbows.
        Elbow => "elbow" "elbow",
        /// Ankles and feet.
        Ankle => "ankle" "ankle",
        /// Hips.
        Hip => "hip" "hip",
        /// Neck.
        Neck => "neck" "neck",
    }
}

/// All equipment there is.
const EVERYTHING: Bits = 0xffff_ffff;
/// What is available outdoors: parks have bars, and people who cycle or swim there have
/// what they need.
const OUTDOORS: Bits = Gear::PullUpBar.bit() | Gear::Bicycle.bit() | Gear::Pool.bit();

/// Equipment that replaces a barbell.
const HAND_HELD: Bits = Gear::Dumbbell.bit()
    | Gear::Kettlebell.bit()
    | Gear::Band.bit()
    | Gear::Sandbag.bit()
    | Gear::MedicineBall.bit();

fn bit(mark: &str) -> Option<Bits> {
    let gear = Gear::ALL.iter().find(|one| one.mark() == mark).map(|one| one.bit());
    let region = || Region::ALL.iter().find(|one| one.mark() == mark).map(|one| one.bit());
    if mark == "everything" { Some(EVERYTHING) } else { gear.or_else(region) }
}

type Loaded = (Lexicon, Vec<Problem>);

fn load(table: &str) -> Loaded {
    Lexicon::load(&[table], &Marks { bit, implied: |bits| bits })
}

static GEAR: LazyLock<Loaded> = LazyLock::new(|| load(include_str!("data/gear.txt")));
static EXERCISES: LazyLock<Loaded> = LazyLock::new(|| load(include_str!("data/exercises.txt")));

/// A set of equipment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GearSet(Bits);

impl GearSet {
    /// All equipment, as in a gym.
    pub const EVERYTHING: Self = Self(EVERYTHING);
    /// What is available outdoors.
    pub const OUTDOORS: Self = Self(OUTDOORS);

    /// The equipment named in an answer or a list.
    pub fn named_in(text: &str) -> Self {
        Self(marks(&GEAR.0, text) & EVERYTHING)
    }

    /// The equipment that an exercise's name implies. A squat or deadlift needs a
    /// barbell, unless the name says otherwise.
    pub fn implied_by(exercise: &str) -> Self {
        let implied = marks(&EXERCISES.0, exercise) & EVERYTHING;
        let instead = marks(&GEAR.0, exercise) & HAND_HELD != 0
            || exercise.to_lowercase().contains("bodyweight");
        Self(if instead { implied & !Gear::Barbell.bit() } else { implied })
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

    /// Whether it is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its members.
    pub fn iter(self) -> impl Iterator<Item = Gear> {
        Gear::ALL.iter().copied().filter(move |one| self.0 & one.bit() != 0)
    }
}

/// A set of body parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Regions(Bits);

impl Regions {
    /// The body parts named in an answer about injuries.
    pub fn named_in(text: &str) -> Self {
        let bits = injured_parts(text).into_iter().filter_map(bit);
        Self(bits.fold(0, |all, one| all | one) & !EVERYTHING)
    }

    /// The body parts that the exercises named in a text load heavily. "Skip the jumps" is
    /// not a jump, but "squats, no equipment" are squats.
    pub fn loaded_by(exercise: &str) -> Self {
        let tokens = tokens(exercise);
        let mut denials = Denials::new(exercise, &tokens);
        let loaded = terms(&EXERCISES.0, &tokens)
            .filter(|term| !denials.reach(term))
            .fold(0, |all, term| all | term.bits);
        Self(loaded & !EVERYTHING)
    }

    /// The union.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The intersection.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its members.
    pub fn iter(self) -> impl Iterator<Item = Region> {
        Region::ALL.iter().copied().filter(move |one| self.0 & one.bit() != 0)
    }
}

/// The open marks of all terms in a text.
fn marks(lexicon: &Lexicon, text: &str) -> Bits {
    terms(lexicon, &tokens(text)).fold(0, |all, term| all | term.bits)
}

/// A term at its place in a text.
struct Term {
    bits: Bits,
    at: usize,
    length: usize,
}

/// All terms in a text, longest terms first.
fn terms(lexicon: &Lexicon, tokens: &[Token]) -> impl Iterator<Item = Term> {
    let ids: Vec<_> =
        tokens.iter().map(|token| token.word().and_then(|word| number(lexicon, word))).collect();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < tokens.len() {
            let found = term(lexicon, tokens, &ids, at);
            at += found.as_ref().map_or(1, |term| term.length);
            if found.is_some() {
                return found;
            }
        }
        None
    })
}

fn number(lexicon: &Lexicon, word: &str) -> Option<u32> {
    lexicon.word(word).or_else(|| lexicon.guess(word))
}

fn term(lexicon: &Lexicon, tokens: &[Token], ids: &[Option<u32>], at: usize) -> Option<Term> {
    if let Some((entry, length)) = lexicon.longest(&ids[at..]) {
        return Some(Term { bits: open(entry), at, length });
    }
    // "deadlifts" is one word here and two there: "dead lifts", "pullups".
    let joined = tokens[at].word().zip(tokens.get(at + 1).and_then(Token::word));
    let joined = joined.and_then(|(one, two)| lexicon.word(&format!("{one}{two}")));
    let (entry, _) = joined.and_then(|id| lexicon.longest(&[Some(id)]))?;
    Some(Term { bits: open(entry), at, length: 2 })
}

fn open(entry: &Entry) -> Bits {
    entry.open
}

#[cfg(test)]
mod tests {
    use regimen_common::safety::PARTS;

    use super::*;

    fn loads(text: &str) -> Vec<&'static str> {
        Regions::loaded_by(text).iter().map(Region::name).collect()
    }

    #[test]
    fn every_line_of_the_tables_is_read() {
        for table in [&*GEAR, &*EXERCISES] {
            assert_eq!(table.1, [], "mend plan/training/data");
        }
    }

    #[test]
    fn every_part_that_answers_name_is_a_region() {
        for part in PARTS {
            assert_eq!(bit(part).map(|bit| bit & EVERYTHING), Some(0), "{part}");
        }
        assert_eq!(PARTS.len(), Region::ALL.len());
        let named: Vec<_> = Regions::named_in("Knie, Rücken").iter().map(Region::name).collect();
        assert_eq!(named, ["knee", "lower back"]);
    }

    #[test]
    fn a_denial_counts_only_for_the_exercise_after_it() {
        for text in [
            "Jump squats, no equipment needed",
            "Jump squats (no equipment)",
            "Squats without weights",
            "No-equipment jump squats",
            "No weights: squats",
            "Non-stop squats, no rest",
            "Squats, not too fast",
            "Skip the bench, squats instead",
            "No machine squats",
            "No equipment, squats",
        ] {
            assert!(loads(text).contains(&"knee"), "{text}: {:?}", loads(text));
        }
        for text in [
            "Skip the lunges",
            "no jumping",
            "March in place, no jumping",
            "Avoid deep squats",
            "Glute bridge instead of squats",
            "Glute bridge rather than deep squats",
            "Don't squat",
            "avoid squats and lunges",
            "no running/jumping",
            "no squats or lunges or running",
        ] {
            assert_eq!(loads(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn milder_variants_load_nothing() {
        assert_eq!(loads("Barbell Back Squats"), ["knee", "lower back"]);
        assert_eq!(loads("Goblet squat"), ["knee"]);
        assert_eq!(loads("Chair squat"), [""; 0]);
        assert_eq!(loads("Push-ups"), ["shoulder", "wrist"]);
        assert_eq!(loads("Wall push-up"), [""; 0]);
        assert_eq!(loads("Glute bridge"), [""; 0]);
        assert_eq!(loads("Romanian dead lift"), ["lower back"]);
    }

    #[test]
    fn equipment_is_found_in_answers_lists_and_names() {
        let named = |text| GearSet::named_in(text).iter().map(Gear::name).collect::<Vec<_>>();
        assert_eq!(named("Dumbbells"), ["dumbbells"]);
        assert_eq!(named("Resistance bands, yoga mat"), ["resistance bands"]);
        assert_eq!(named("None"), [""; 0]);
        assert_eq!(named("Full gym access").len(), Gear::ALL.len());
        let implied = |text| GearSet::implied_by(text).iter().map(Gear::name).collect::<Vec<_>>();
        assert_eq!(implied("Dumbbell lunges"), ["dumbbells"]);
        assert_eq!(implied("Leg press"), ["gym machines"]);
        assert_eq!(implied("Front squat"), ["a barbell"]);
        assert_eq!(implied("Kettlebell front squat"), ["a kettlebell"]);
        assert_eq!(implied("Bodyweight squat"), [""; 0]);
    }
}
