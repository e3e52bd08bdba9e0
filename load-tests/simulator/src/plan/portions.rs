//! Finds amounts of given foods that reach a day's targets.
//!
//! A bounded least-squares problem, solved by coordinate descent. The targets
//! are weighted by their tolerances; usual portions and each meal's share of
//! the day have a small weight, so that the amounts stay realistic.

/// A food with an unknown amount.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unknown {
    /// kcal, protein, carbohydrates, fat per g.
    pub(super) per_gram: [f64; 4],
    /// A usual portion, g.
    pub(super) usual: f64,
    /// The highest amount, g.
    pub(super) most: f64,
    /// The meal it belongs to.
    pub(super) meal: usize,
}

/// What the amounts must reach.
#[derive(Debug, Clone)]
pub(super) struct Goal {
    /// kcal, protein, carbohydrates, fat of the day.
    pub(super) totals: [f64; 4],
    /// kcal of each meal.
    pub(super) meals: Vec<f64>,
}

/// The tolerance of each total, as a share of it.
pub(super) const TOLERANCE: [f64; 4] = [0.05, 0.10, 0.10, 0.10];

const SWEEPS: usize = 120;
/// The weight of a usual portion relative to one tolerance of a target.
const HABIT: f64 = 0.004;
/// A meal that misses its energy by this share of it weighs like one tolerance of a
/// target.
const SHARE_SLACK: f64 = 1.5;

/// One linear goal: `coefficients · amounts` should equal `aim`.
struct Aim {
    coefficients: Vec<f64>,
    aim: f64,
    weight: f64,
}

/// The amounts, g, in the order of `unknowns`.
pub(super) fn solve(unknowns: &[Unknown], goal: &Goal) -> Vec<f64> {
    let aims = aims(unknowns, goal);
    let mut amounts: Vec<f64> = unknowns.iter().map(|unknown| unknown.usual).collect();
    let mut misses: Vec<f64> =
        aims.iter().map(|aim| dot(&aim.coefficients, &amounts) - aim.aim).collect();
    for _ in 0..SWEEPS {
        for (index, unknown) in unknowns.iter().enumerate() {
            let habit = HABIT / (unknown.usual * unknown.usual);
            let mut slope = habit * (amounts[index] - unknown.usual);
            let mut bend = habit;
            for (aim, miss) in aims.iter().zip(&misses) {
                let coefficient = aim.coefficients[index];
                slope += aim.weight * coefficient * miss;
                bend += aim.weight * coefficient * coefficient;
            }
            let least = unknown.usual.min(unknown.most) * 0.3;
            let next = (amounts[index] - slope / bend).clamp(least, unknown.most);
            let step = next - amounts[index];
            amounts[index] = next;
            for (aim, miss) in aims.iter().zip(&mut misses) {
                *miss += aim.coefficients[index] * step;
            }
        }
    }
    amounts
}

/// The largest deviation of `totals` from `goal`, in tolerances: up to 1 is good.
pub(super) fn worst_miss(totals: [f64; 4], goal: &Goal) -> f64 {
    let misses = totals.iter().zip(goal.totals).zip(TOLERANCE);
    misses
        .filter(|((_, aim), _)| *aim > 0.0)
        .map(|((total, aim), tolerance)| (total - aim).abs() / (aim * tolerance))
        .fold(0.0, f64::max)
}

fn aims(unknowns: &[Unknown], goal: &Goal) -> Vec<Aim> {
    let totals = (0..4).filter(|kind| goal.totals[*kind] > 0.0).map(|kind| {
        let slack = goal.totals[kind] * TOLERANCE[kind];
        Aim {
            coefficients: unknowns.iter().map(|unknown| unknown.per_gram[kind]).collect(),
            aim: goal.totals[kind],
            weight: 1.0 / (slack * slack),
        }
    });
    let shares = goal.meals.iter().enumerate().map(|(meal, energy)| {
        let slack = energy * SHARE_SLACK;
        let own = |unknown: &Unknown| if unknown.meal == meal { unknown.per_gram[0] } else { 0.0 };
        Aim {
            coefficients: unknowns.iter().map(own).collect(),
            aim: *energy,
            weight: 1.0 / (slack * slack),
        }
    });
    totals.chain(shares).collect()
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(protein: f64, carbs: f64, fat: f64, usual: f64, most: f64) -> Unknown {
        let per_gram = [4.0 * protein + 4.0 * carbs + 9.0 * fat, protein, carbs, fat];
        Unknown { per_gram: per_gram.map(|value| value / 100.0), usual, most, meal: 0 }
    }

    #[test]
    fn three_pure_foods_meet_three_macros() {
        let foods = [
            unknown(31.0, 0.0, 3.6, 150.0, 600.0),
            unknown(2.7, 25.6, 1.0, 200.0, 900.0),
            unknown(0.0, 0.0, 100.0, 10.0, 90.0),
        ];
        let goal = Goal { totals: [1940.0, 150.0, 200.0, 60.0], meals: vec![1940.0] };
        let amounts = solve(&foods, &goal);
        let total =
            |kind: usize| foods.iter().zip(&amounts).map(|(food, g)| food.per_gram[kind] * g).sum();
        assert!(worst_miss([total(0), total(1), total(2), total(3)], &goal) < 0.2, "{amounts:?}");
    }

    #[test]
    fn bounds_hold_even_when_the_target_is_out_of_reach() {
        let foods = [unknown(0.0, 0.0, 100.0, 10.0, 50.0)];
        let goal = Goal { totals: [2000.0, 150.0, 200.0, 60.0], meals: vec![2000.0] };
        let amounts = solve(&foods, &goal);
        assert!(amounts[0] <= 50.0 && worst_miss([450.0, 0.0, 0.0, 50.0], &goal) > 1.0);
    }
}
