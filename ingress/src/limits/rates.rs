//! The rate-limit policies of an action, by the user's plan.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use regimen_common::account::PlanTier;
use regimen_common::config::Env;
use regimen_common::rate_limit::RatePolicy;

use super::Action;

/// A rate, written `5/h`, `10/m`, `50/d` or `3/2h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The number.
    pub quota: NonZeroU32,
    /// The window.
    pub window: Duration,
}

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const HOW: &str =
            "must be written like 5/h, 50/d or 3/2h (s, m, h or d), neither part zero";
        let (quota, window) = text.split_once('/').ok_or(HOW)?;
        let unit = window.chars().next_back().ok_or(HOW)?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(HOW),
        };
        let count = window.strip_suffix(unit).filter(|count| !count.is_empty()).unwrap_or("1");
        let count: NonZeroU32 = count.parse().map_err(|_| HOW)?;
        let window = Duration::from_secs(u64::from(count.get()) * seconds);
        Ok(Self { quota: quota.trim().parse().map_err(|_| HOW)?, window })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}s", self.quota, self.window.as_secs())
    }
}

/// The rates of free users; paying users get a multiple.
#[derive(Debug, Clone)]
pub struct RateConfig {
    /// `RATE_GENERATE_PLANS`: requests for plans.
    pub generate_plans: Rate,
    /// `RATE_MEAL_PLAN`: legacy requests for one meal plan.
    pub meal_plan: Rate,
    /// `RATE_WORKOUT_PLAN`: legacy requests for one workout plan.
    pub workout_plan: Rate,
    /// `RATE_BILLING`: checkouts, portals and lists of invoices.
    pub billing: Rate,
    /// `RATE_ACCOUNT`: exports and deletions of accounts.
    pub account: Rate,
    /// `RATE_DAILY`: all requests for plans together.
    pub daily: Rate,
    /// `RATE_PRO_FACTOR`: the multiple for paying users.
    pub pro_factor: NonZeroU32,
    /// `RATE_SHADOW`: names of policies that only report.
    pub shadow: Vec<String>,
}

const DAILY: &str = "daily";

impl RateConfig {
    /// Reads the variables; mistakes are recorded in `env`.
    pub fn from_env(env: &mut Env) -> Self {
        let mut rate = |name, quota: u32, window| {
            let quota = NonZeroU32::new(quota).unwrap_or(NonZeroU32::MIN);
            env.or(name, Rate { quota, window: Duration::from_secs(window) })
        };
        let config = Self {
            generate_plans: rate("RATE_GENERATE_PLANS", 5, 3_600),
            meal_plan: rate("RATE_MEAL_PLAN", 10, 3_600),
            workout_plan: rate("RATE_WORKOUT_PLAN", 10, 3_600),
            billing: rate("RATE_BILLING", 30, 3_600),
            account: rate("RATE_ACCOUNT", 10, 3_600),
            daily: rate("RATE_DAILY", 60, 86_400),
            pro_factor: env
                .or("RATE_PRO_FACTOR", NonZeroU32::MIN.saturating_add(3))
                .min(NonZeroU32::MIN.saturating_add(999)),
            shadow: env.list("RATE_SHADOW"),
        };
        let known = Action::ALL.map(Action::name).into_iter().chain([DAILY]);
        let known: Vec<_> = known.collect();
        for name in config.shadow.iter().filter(|name| !known.contains(&name.as_str())) {
            env.error("RATE_SHADOW", format!("{name} is none of {}", known.join(", ")));
        }
        config
    }

    /// The policies of `action` for a user of `tier`.
    pub fn policies(&self, action: Action, tier: PlanTier) -> Vec<RatePolicy> {
        let own = match action {
            Action::GeneratePlans => self.generate_plans,
            Action::MealPlan => self.meal_plan,
            Action::WorkoutPlan => self.workout_plan,
            Action::Billing => {
                return vec![self.policy(action.name(), self.billing, tier)];
            }
            Action::Account => {
                return vec![self.policy(action.name(), self.account, tier)];
            }
        };
        vec![self.policy(action.name(), own, tier), self.policy(DAILY, self.daily, tier)]
    }

    /// Every policy of a user of `tier`, each once.
    pub fn all(&self, tier: PlanTier) -> Vec<RatePolicy> {
        let mut all: Vec<RatePolicy> =
            Action::ALL.into_iter().flat_map(|action| self.policies(action, tier)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all.dedup();
        all
    }

    fn policy(&self, name: &str, rate: Rate, tier: PlanTier) -> RatePolicy {
        let quota = match tier {
            PlanTier::Free => rate.quota,
            PlanTier::Pro => rate.quota.saturating_mul(self.pro_factor),
        };
        let shadow = self.shadow.iter().any(|shadowed| shadowed == name);
        RatePolicy { name: name.into(), quota, window: rate.window, shadow }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_people_write_them() {
        let rate = |text: &str| text.parse::<Rate>().map(|rate| (rate.quota.get(), rate.window));
        assert_eq!(rate("5/h"), Ok((5, Duration::from_secs(3_600))));
        assert_eq!(rate("50/d"), Ok((50, Duration::from_secs(86_400))));
        assert_eq!(rate("3/2h"), Ok((3, Duration::from_secs(7_200))));
        for wrong in ["", "5", "0/h", "5/", "5/w", "-1/h", "5/0h", "5/hour", "5/h/h", "5/é"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn free_users_have_the_contract_and_others_a_multiple() {
        let mut env = Env::from_pairs([("RATE_SHADOW", "daily")]);
        let config = RateConfig::from_env(&mut env);
        env.finish(Some(())).unwrap();
        let quotas = |tier| {
            Action::ALL.map(|action| {
                let own = config.policies(action, tier).remove(0);
                assert_eq!(own.window, Duration::from_secs(3_600));
                own.quota.get()
            })
        };
        assert_eq!(quotas(PlanTier::Free), [5, 10, 10, 30, 10]);
        assert_eq!(quotas(PlanTier::Pro), [20, 40, 40, 120, 40]);
        let names: Vec<_> = config
            .all(PlanTier::Free)
            .into_iter()
            .map(|p| (p.name.to_string(), p.shadow))
            .collect();
        let expected =
            ["account", "billing", "daily", "generate-plans", "meal-plan", "workout-plan"];
        assert_eq!(names, expected.map(|name| (name.to_owned(), name == "daily")));
    }

    #[test]
    fn a_shadow_of_nothing_is_a_mistake() {
        let mut env = Env::from_pairs([("RATE_SHADOW", "dayly")]);
        RateConfig::from_env(&mut env);
        assert!(env.finish(Some(())).is_err());
    }
}
