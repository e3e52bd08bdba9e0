//! The labels that the series of a PromQL expression have; an error where it
//! names what there is not.

use std::collections::BTreeSet;

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{
    self, AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, VectorSelector,
};

use super::names::Names;

pub(super) type Result<T> = std::result::Result<T, String>;

/// What expressions look at.
#[derive(Default)]
pub(super) struct Used {
    pub(super) names: BTreeSet<String>,
    /// The routes of the ingress, which no table lists.
    pub(super) routes: BTreeSet<String>,
}

/// The labels of what `expr` brings. What it looks at is added to `used`.
pub(super) fn labels(expr: &str, names: &Names, used: &mut Used) -> Result<BTreeSet<String>> {
    let expr = parser::parse(expr).map_err(|error| format!("{error} in {expr}"))?;
    Walk { names, used }.labels(&expr)
}

struct Walk<'a> {
    names: &'a Names,
    used: &'a mut Used,
}

impl Walk<'_> {
    fn labels(&mut self, expr: &Expr) -> Result<BTreeSet<String>> {
        match expr {
            Expr::VectorSelector(selector) => self.selector(selector),
            Expr::MatrixSelector(matrix) => self.selector(&matrix.vs),
            Expr::Subquery(subquery) => self.labels(&subquery.expr),
            Expr::Paren(paren) => self.labels(&paren.expr),
            Expr::Unary(unary) => self.labels(&unary.expr),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate),
            Expr::Binary(binary) => self.binary(binary),
            Expr::Call(call) => self.call(call),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Ok(BTreeSet::new()),
            Expr::Extension(_) => Err("an extension of the parser's".to_owned()),
        }
    }

    fn selector(&mut self, selector: &VectorSelector) -> Result<BTreeSet<String>> {
        let name = selector.name.as_deref().ok_or("a selector without a name")?;
        let known = self.names.find(name).ok_or_else(|| format!("there is no metric {name}"))?;
        for matcher in &selector.matchers.matchers {
            let label = &matcher.name;
            let values = known.labels.get(label);
            let values = values.ok_or_else(|| format!("{name} has no label {label}"))?;
            if label == "route" {
                self.used.routes.extend(values_of(matcher));
            }
            if let Some(values) = values {
                let unknown = values_of(matcher).into_iter().find(|value| !values.contains(value));
                if let Some(unknown) = unknown {
                    return Err(format!("{name} has no {label} {unknown:?}, only {values:?}"));
                }
            }
        }
        self.used.names.insert(name.to_owned());
        Ok(known.labels.keys().cloned().collect())
    }

    fn aggregate(&mut self, aggregate: &AggregateExpr) -> Result<BTreeSet<String>> {
        let inner = self.labels(&aggregate.expr)?;
        match &aggregate.modifier {
            None => Ok(BTreeSet::new()),
            Some(LabelModifier::Exclude(labels)) => {
                Ok(inner.into_iter().filter(|label| !labels.labels.contains(label)).collect())
            }
            Some(LabelModifier::Include(labels)) => {
                match labels.labels.iter().find(|label| !inner.contains(*label)) {
                    Some(label) => Err(format!("{} has no label {label}", aggregate.expr)),
                    None => Ok(labels.labels.iter().cloned().collect()),
                }
            }
        }
    }

    /// Of two sides the left one gives the labels; a number has none, and `or`
    /// brings what either side has.
    fn binary(&mut self, binary: &BinaryExpr) -> Result<BTreeSet<String>> {
        let (left, right) = (self.labels(&binary.lhs)?, self.labels(&binary.rhs)?);
        if left.is_empty() || binary.op.to_string() == "or" {
            return Ok(left.union(&right).cloned().collect());
        }
        Ok(left)
    }

    fn call(&mut self, call: &Call) -> Result<BTreeSet<String>> {
        let mut labels = BTreeSet::new();
        for argument in &call.args.args {
            labels.extend(self.labels(argument)?);
        }
        if call.func.name == "histogram_quantile" && !labels.remove("le") {
            return Err("histogram_quantile without le".to_owned());
        }
        Ok(labels)
    }
}

/// The values a matcher names: one, or the branches of a pattern that is nothing else.
fn values_of(matcher: &Matcher) -> Vec<String> {
    match matcher.op {
        MatchOp::Equal | MatchOp::NotEqual => vec![matcher.value.clone()],
        MatchOp::Re(_) | MatchOp::NotRe(_) => matcher.value.split('|').map(str::to_owned).collect(),
    }
}

#[test]
fn what_there_is_not_is_found() {
    let names = Names::of_tables();
    let labels = |expr: &str| labels(expr, &names, &mut Used::default());
    let own = labels("sum by (kind) (rate(regimen_jobs_accepted_total[5m])) > 0").unwrap();
    assert_eq!(own, BTreeSet::from(["kind".to_owned()]));
    for wrong in [
        "regimen_jobs_acepted_total",
        "regimen_jobs_accepted_total{kinds=\"meal\"}",
        "regimen_jobs_accepted_total{kind=\"lunch\"}",
        "regimen_jobs_accepted_total{kind=~\"meal|lunch\"}",
        "sum by (provider) (regimen_jobs_accepted_total)",
        "histogram_quantile(0.9, sum(rate(regimen_pickup_seconds_bucket[5m])))",
        "regimen_pickup_seconds",
        "sum(",
    ] {
        assert!(labels(wrong).is_err(), "{wrong}");
    }
}
