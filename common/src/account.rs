//! User accounts: plan tiers and roles.

use crate::job::JobClass;

/// Id of every new profile's plan, in `public.plans`.
pub const FREE_PLAN_ID: &str = "free";

/// What a user's plan means for limits and queue order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlanTier {
    /// No plan, the free one, or one that is no longer offered.
    Free,
    /// Any other plan, because operators may sell more plans.
    Pro,
}

impl PlanTier {
    /// The tier of a profile with this `plan_id`. `active` is whether the plan exists and
    /// is offered.
    pub fn of(plan_id: Option<&str>, active: bool) -> Self {
        match plan_id {
            None | Some(FREE_PLAN_ID) => Self::Free,
            Some(_) if active => Self::Pro,
            Some(_) => Self::Free,
        }
    }
}

impl From<PlanTier> for JobClass {
    fn from(tier: PlanTier) -> Self {
        match tier {
            PlanTier::Free => Self::Free,
            PlanTier::Pro => Self::Pro,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_active_plan_but_free_is_pro() {
        for (plan_id, active, tier) in [
            (None, false, PlanTier::Free),
            (Some("free"), true, PlanTier::Free),
            (Some("pro"), true, PlanTier::Pro),
            (Some("family"), true, PlanTier::Pro),
            (Some("family"), false, PlanTier::Free),
        ] {
            assert_eq!(PlanTier::of(plan_id, active), tier, "{plan_id:?} {active}");
        }
    }
}
