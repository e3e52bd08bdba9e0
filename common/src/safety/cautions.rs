//! Cautions for people whom an ordinary plan may harm, with the public
//! guideline of each. They are not medical advice; teams with their own
//! clinicians can disable each one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! cautions {
    ($($(#[$doc:meta])* $variant:ident => $code:literal $text:literal),+ $(,)?) => {
        /// Why a plan is cautious. The docs of each name its source.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $code)] $variant,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code as clients read it and as `CAUTIONS_OFF` names it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// What is said.
            pub(super) fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

cautions! {
    /// American Academy of Pediatrics, "Preventing Obesity and Eating Disorders in
    /// Adolescents" (Pediatrics 2016;138(3):e20161649): dieting is discouraged.
    Under18 => "under_18"
        "You are under 18 and still growing: the plan has no calorie deficit. Ask a doctor before you try to lose weight.",
    /// NICE PH27, "Weight management before, during and after pregnancy" (2010): no
    /// dieting while pregnant.
    Pregnancy => "pregnancy"
        "You mention a pregnancy: the plan has no calorie deficit. Go through it with your doctor or midwife.",
    /// The same guideline, and EFSA's reference values for energy (2013): needs are higher.
    Breastfeeding => "breastfeeding"
        "You mention breastfeeding: the plan has no calorie deficit. Go through it with your doctor or midwife.",
    /// World Health Organization, BMI classification: under 18.5 is underweight.
    Underweight => "underweight"
        "Your weight is below the healthy range for your height (BMI under 18.5): the plan keeps your weight instead of lowering it.",
    /// The same.
    TargetUnderweight => "target_underweight"
        "Your target weight is below the healthy range for your height (BMI under 18.5): the plan does not pursue it and keeps your weight.",
    /// A goal and a target weight that contradict each other.
    GoalContradiction => "goal_contradiction"
        "You want to lose weight, but your target weight is not below your weight: the plan keeps your weight. Correct one of the two answers.",
    /// NICE NG69, "Eating disorders: recognition and treatment" (2017): no attempt to lose
    /// weight during treatment, dietary advice as a part of a team's care.
    EatingDisorder => "eating_disorder"
        "You mention an eating disorder: the plan has no calorie deficit, and its tips do not talk about calories or weight. Please talk to your doctor or care team about eating plans.",
    /// NICE CG43 (2006) and PH27 (2010), and the NHLBI's clinical guidelines (1998): 0.5 to
    /// 1 kg a week, which is about 1 % of body weight.
    FastLoss => "fast_loss"
        "Losing more than 1 % of your weight a week is faster than guidelines advise: the plan is slower, and takes longer than you wished.",
    /// NICE NG28 and NG17: individual advice by a professional.
    Diabetes => "diabetes"
        "You mention diabetes: go through changes of food and training with your doctor first, because medicine may have to change with them.",
    /// KDIGO 2024, chronic kidney disease: protein, salt and potassium by stage.
    Kidney => "kidney"
        "You mention a kidney condition: how much protein, salt and potassium is right depends on its stage. Ask your doctor before you follow the plan.",
    /// American College of Sports Medicine, exercise preparticipation health screening (2015).
    Heart => "heart"
        "You mention a heart condition: ask your doctor before you begin to train or change how you eat.",
    /// NHS Medicines A to Z, warfarin: keep vitamin K steady; cranberry and grapefruit.
    WarfarinVitaminK => "warfarin_vitamin_k"
        "With warfarin and its kin, eat about the same amount of leafy greens from day to day, and avoid cranberry and grapefruit juice. Tell your clinic about a change of diet.",
    /// FDA labels of phenelzine and tranylcypromine: low-tyramine diet.
    MaoiTyramine => "maoi_tyramine"
        "With MAO inhibitors, aged cheese, cured meat, fermented soy, sauerkraut and tap beer can raise blood pressure dangerously. Follow the list your doctor gave you.",
    /// FDA consumer update "Grapefruit Juice and Some Drugs Don't Mix" (2021).
    StatinGrapefruit => "statin_grapefruit"
        "Grapefruit can make this statin stronger: leave grapefruit and its juice out, or ask your pharmacist.",
    /// The same.
    CalciumBlockerGrapefruit => "calcium_blocker_grapefruit"
        "Grapefruit can make this blood pressure medicine stronger: leave grapefruit and its juice out, or ask your pharmacist.",
    /// The same.
    ImmunosuppressantGrapefruit => "immunosuppressant_grapefruit"
        "Grapefruit can make this medicine much stronger: leave grapefruit, pomelo and Seville orange out.",
    /// NHS Medicines A to Z, levothyroxine: empty stomach, away from caffeine, calcium, iron, soy.
    LevothyroxineTiming => "levothyroxine_timing"
        "Take levothyroxine on an empty stomach, 30 to 60 minutes before breakfast or coffee, and away from soy, calcium and iron.",
    /// NHS Medicines A to Z, ramipril, losartan and spironolactone: no salt substitutes.
    Potassium => "potassium"
        "This medicine can raise potassium: do not use salt substitutes made of potassium, and ask before you eat much more potassium-rich food.",
    /// NHS Medicines A to Z, lithium: keep salt and fluids steady.
    LithiumSalt => "lithium_salt"
        "With lithium, keep salt and drinking about the same from day to day; no low-salt or crash diets without your doctor.",
    /// American Diabetes Association, Standards of Care: hypoglycaemia.
    BloodSugar => "blood_sugar"
        "This medicine can make blood sugar too low when you eat less or train more: plan meals and doses with your diabetes team, and do not fast.",
    /// FDA labels of SGLT2 inhibitors: ketoacidosis with little carbohydrate.
    Sglt2LowCarb => "sglt2_low_carb"
        "With SGLT2 inhibitors, very low carbohydrate and fasting can cause ketoacidosis: no keto plan without your doctor.",
    /// NHS Medicines A to Z, metronidazole and methotrexate; FDA label of disulfiram.
    Alcohol => "alcohol"
        "Do not drink alcohol with this medicine, and check sauces and desserts for it.",
    /// NHS Medicines A to Z, doxycycline and ciprofloxacin.
    TetracyclineDairy => "tetracycline_dairy"
        "Keep dairy, calcium and iron some hours away from this antibiotic, as its leaflet says.",
}

/// Something to be careful about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Caution {
    /// Stable, for programs.
    pub code: Code,
    /// In English, for people.
    #[schema(
        example = "You are under 18 and still growing: the plan has no calorie deficit. Ask a doctor before you try to lose weight."
    )]
    pub text: String,
}

impl From<Code> for Caution {
    fn from(code: Code) -> Self {
        Self { code, text: code.text().to_owned() }
    }
}
