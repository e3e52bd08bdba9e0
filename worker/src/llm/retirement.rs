//! Retirement of models: the warnings, their recipients and their start.

use std::fmt;

use chrono::{Days, NaiveDate};

use super::catalogue::Catalogue;

/// A model that retires within this many days causes a warning.
const SOON_DAYS: u64 = 60;

/// The announced retirement of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The day on which it retires.
    pub retires: NaiveDate,
    /// The day from which it causes a warning.
    pub warned_from: NaiveDate,
    /// The model to call instead from its retirement on.
    pub successor: Option<String>,
}

/// A warning about a model, for logs and job events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetirementNotice {
    /// The requested model.
    pub model: String,
    /// The day it retires or retired.
    pub retires: NaiveDate,
    /// Whether that day has come.
    pub retired: bool,
    /// The model to call instead from then on.
    pub successor: Option<String>,
}

impl fmt::Display for RetirementNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, retires, .. } = self;
        match (self.retired, &self.successor) {
            (true, Some(next)) => {
                write!(f, "{model} retired on {retires}; its successor {next} is asked instead")
            }
            (true, None) => write!(f, "{model} retired on {retires}; choose another model"),
            (false, Some(next)) => {
                write!(f, "{model} retires on {retires}; from then on {next} is asked instead")
            }
            (false, None) => write!(f, "{model} retires on {retires}; choose another model"),
        }
    }
}

impl Catalogue {
    /// The announced retirement of `id`, if there is one.
    pub fn end(&self, id: &str) -> Option<End> {
        let model = self.model(id)?;
        let retires = model.retires?;
        let warned_from = retires.checked_sub_days(Days::new(SOON_DAYS)).unwrap_or(retires);
        Some(End { retires, warned_from, successor: model.successor.clone() })
    }

    /// The warning about `id` if it is retired or retires soon. The successor is the one
    /// that answers by then, if that is replaced too.
    pub fn notice(&self, id: &str, today: NaiveDate) -> Option<RetirementNotice> {
        let end = self.end(id).filter(|end| today >= end.warned_from)?;
        let day = today.max(end.retires);
        let answering = end.successor.map(|next| self.resolve(&next, day).id);
        Some(RetirementNotice {
            model: id.to_owned(),
            retires: end.retires,
            retired: today >= end.retires,
            successor: answering,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn a_model_is_noticed_sixty_days_before_its_end_and_after_it() {
        let catalogue = Catalogue::built_in().unwrap();
        let says = |id: &str, today: &str| {
            catalogue.notice(id, day(today)).map(|notice| notice.to_string()).unwrap_or_default()
        };
        assert_eq!(says("gpt-4o-mini", "2026-11-14"), "");
        assert_eq!(
            says("gpt-4o-mini", "2026-11-15"),
            "gpt-4o-mini retires on 2027-01-14; from then on gpt-6-luna is asked instead"
        );
        assert_eq!(
            says("gpt-4o-mini", "2027-01-14"),
            "gpt-4o-mini retired on 2027-01-14; its successor gpt-6-luna is asked instead"
        );
        assert!(says("gemini-1.5-flash", "2026-11-22").contains("gemini-3.5-flash-lite is asked"));
        assert_eq!(says("gemini-3.1-flash-lite", "2026-11-22"), "");
        assert_eq!(says("gpt-6-luna", "2026-11-22"), "");
        assert_eq!(says("never-heard-of", "2026-11-22"), "");
    }
}
