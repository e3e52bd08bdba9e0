//! The quiz decoder, from the bytes of `answers` to the targets of a person.

use regimen_common::nutrition::Nutrition;
use regimen_common::quiz::{
    AGE, BODY_FAT_PERCENT, CIRCUMFERENCE_CM, HEIGHT_CM, InvalidQuiz, LEVEL, Quiz, WEIGHT_KG,
};
use regimen_ingress::error::ApiError;
use regimen_ingress::extract::from_json;
use serde_json::Value;

/// The highest number of reported problems.
const MOST_PROBLEMS: usize = 100;

pub(crate) fn run(bytes: &[u8]) {
    // As the ingress parses a body: strict JSON first.
    match from_json::<Value>(bytes) {
        Ok(answers) => read(&answers),
        Err(ApiError::BadRequest(detail)) => assert!(!detail.is_empty()),
        Err(ApiError::Invalid(errors)) => {
            assert!(!errors.is_empty() && errors.len() <= MOST_PROBLEMS);
            errors.iter().for_each(|error| assert_pointer(&error.pointer));
        }
        Err(other) => panic!("reading JSON gave {other:?}"),
    }
    // And without it: lenient JSON must not break the decoder either.
    if let Ok(answers) = serde_json::from_slice::<Value>(bytes) {
        read(&answers);
    }
}

fn read(answers: &Value) {
    match Quiz::read(answers) {
        Ok(quiz) => hold(&quiz),
        Err(InvalidQuiz { problems }) => {
            assert!(!problems.is_empty() && problems.len() <= MOST_PROBLEMS);
            for problem in &problems {
                assert_pointer(&problem.pointer);
                assert!(!problem.message.is_empty());
            }
        }
    }
}

/// The promises of an accepted quiz and of the targets computed from it.
fn hold(quiz: &Quiz) {
    assert!(AGE.contains(&quiz.age), "{}", quiz.age);
    assert!(HEIGHT_CM.contains(&quiz.height.cm()), "{}", quiz.height);
    assert!(WEIGHT_KG.contains(&quiz.current_weight.kg()), "{}", quiz.current_weight);
    assert!(WEIGHT_KG.contains(&quiz.target_weight.kg()), "{}", quiz.target_weight);
    assert!(quiz.body_fat.is_none_or(|percent| BODY_FAT_PERCENT.contains(&percent)));
    for length in [quiz.neck, quiz.waist, quiz.hip].into_iter().flatten() {
        assert!(CIRCUMFERENCE_CM.contains(&length.cm()), "{length}");
    }
    assert!(LEVEL.contains(&quiz.motivation_level) && LEVEL.contains(&quiz.stress_level));
    let nutrition = Nutrition::of(quiz);
    assert!(nutrition.goal_calories >= 1_200, "nobody is told to starve: {nutrition:?}");
    for number in [nutrition.bmi, nutrition.bmr, nutrition.tdee] {
        assert!(number.is_finite() && number > 0.0, "{nutrition:?}");
    }
    assert!(nutrition.body_fat_percentage.is_none_or(f64::is_finite));
    // Stored and sent as JSON, which has no NaN.
    let stored = serde_json::to_value(&nutrition);
    assert!(stored.is_ok_and(|stored| serde_json::from_value::<Nutrition>(stored).is_ok()));
}

/// RFC 6901: empty, or tokens after slashes with `~` escaped.
fn assert_pointer(pointer: &str) {
    assert!(pointer.is_empty() || pointer.starts_with('/'), "{pointer:?}");
    let escaped = pointer.replace("~0", "").replace("~1", "");
    assert!(!escaped.contains('~'), "{pointer:?}");
}
