//! What a week looked like, for whoever runs the service: as text, Markdown or HTML
//! with charts, or as JSON.

use std::error::Error;

use askama::Template;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use regimen_common::billing::metrics::Standing;
use regimen_common::db::billing::payers;
use regimen_common::db::report::{
    self, Count, Day, Percentiles, SlowStatement, Span, Subscriptions, Times, Webhooks,
};
use regimen_common::db::spend::{self, Grouping, Sum};
use regimen_common::process;
use serde_json::json;

use super::Office;

/// What can be reported.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Jobs, times, failures, providers, money, payments and Postgres over seven days.
    Weekly {
        /// The last day, in UTC (2026-11-28); yesterday unless given.
        #[arg(long, value_name = "DAY")]
        until: Option<NaiveDate>,
        /// How it is written.
        #[arg(long, value_enum, default_value_t = Format::Text, conflicts_with = "json")]
        format: Format,
    },
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For a terminal.
    Text,
    /// For a wiki or an issue.
    Markdown,
    /// A page of its own, with charts.
    Html,
}

/// Days of a week.
const WEEK: i64 = 7;
/// Rows of providers and models.
const MODELS: i64 = 50;

/// All that is told, each number once.
struct Week {
    from: NaiveDate,
    to: NaiveDate,
    written_at: DateTime<Utc>,
    days: Vec<Day>,
    times: Times,
    reasons: Vec<Count>,
    models: Vec<Sum>,
    errors: Vec<Count>,
    webhooks: Webhooks,
    subscriptions: Subscriptions,
    standing: Standing,
    slow: Option<Vec<SlowStatement>>,
}

pub(super) async fn run(office: &Office, command: &Command) -> Result<(), Box<dyn Error>> {
    let Command::Weekly { until, format } = command;
    let to = until.unwrap_or_else(|| office.clock.now().date_naive() - TimeDelta::days(1));
    let week = read(office, to).await?;
    if office.json {
        process::say(&week.value().to_string());
        return Ok(());
    }
    let page = Page::of(&week);
    let written = match format {
        Format::Text => Text { page: &page }.render()?,
        Format::Markdown => Markdown { page: &page }.render()?,
        Format::Html => Html { page: &page }.render()?,
    };
    process::say(written.trim_end());
    Ok(())
}

async fn read(office: &Office, to: NaiveDate) -> Result<Week, Box<dyn Error>> {
    let from = to - TimeDelta::days(WEEK - 1);
    let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
    let span: Span = (midnight(from), midnight(to) + TimeDelta::days(1));
    let by = Grouping { provider: true, model: true, ..Grouping::default() };
    let client = office.db.get().await?;
    Ok(Week {
        from,
        to,
        written_at: office.clock.now(),
        days: report::days(&client, span).await?,
        times: report::times(&client, span).await?,
        reasons: report::reasons(&client, span).await?,
        models: spend::sums(&client, span.0, span.1, by, MODELS).await?,
        errors: report::errors(&client, span).await?,
        webhooks: report::webhooks(&client, span).await?,
        subscriptions: report::subscriptions(&client, span).await?,
        standing: payers::standing(&client, span.0).await?,
        slow: report::slow_statements(&client).await?,
    })
}

impl Week {
    fn sum(&self, of: fn(&Day) -> i64) -> i64 {
        self.days.iter().map(of).sum()
    }

    /// Plans of all that ended by themselves; none of nothing.
    fn success_rate(&self) -> Option<f64> {
        let (plans, lost) =
            (self.sum(|day| day.succeeded), self.sum(|day| day.failed + day.expired));
        (plans + lost > 0).then(|| plans as f64 / (plans + lost) as f64)
    }

    fn cost_per_plan(&self) -> Option<f64> {
        let plans = self.sum(|day| day.succeeded);
        (plans > 0).then(|| self.sum(|day| day.cost_micros) as f64 / 1e6 / plans as f64)
    }

    /// Subscriptions begun for each profile made.
    fn conversion(&self) -> Option<f64> {
        let Subscriptions { new_users, begun } = self.subscriptions;
        (new_users > 0).then(|| begun as f64 / new_users as f64)
    }

    fn churn(&self) -> Option<f64> {
        let Standing { cohort, churned, .. } = self.standing;
        (cohort > 0).then(|| churned as f64 / cohort as f64)
    }

    fn value(&self) -> serde_json::Value {
        let models: Vec<_> = self
            .models
            .iter()
            .map(|sum| {
                json!({ "provider": sum.provider, "model": sum.model, "calls": sum.calls,
                    "cost_usd": sum.cost_micros as f64 / 1e6 })
            })
            .collect();
        json!({
            "from": self.from, "to": self.to, "days": self.days,
            "success_rate": self.success_rate(), "times": self.times, "reasons": self.reasons,
            "models": models, "cost_per_plan_usd": self.cost_per_plan(), "errors": self.errors,
            "webhooks": self.webhooks, "subscriptions": self.subscriptions,
            "conversion": self.conversion(), "churn": self.churn(),
            "paying_users": self.standing.paying_users, "slow_statements": self.slow,
        })
    }
}

/// The report in words: a title and sections, the same in each form.
struct Page {
    title: String,
    written_at: String,
    sections: Vec<Section>,
}

/// A section: sentences, and rows under heads.
struct Section {
    title: &'static str,
    facts: Vec<String>,
    heads: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    chart: Option<Chart>,
}

impl Section {
    fn new(title: &'static str, facts: Vec<String>) -> Self {
        Self { title, facts, heads: Vec::new(), rows: Vec::new(), chart: None }
    }

    fn rows(mut self, heads: Vec<&'static str>, rows: Vec<Vec<String>>) -> Self {
        self.heads = heads;
        self.rows = rows;
        self
    }

    /// For a terminal.
    fn aligned(&self) -> String {
        let width = |index: usize| {
            let head = self.heads.get(index).map_or(0, |head| head.chars().count());
            let cells = self.rows.iter().filter_map(|row| row.get(index));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(head)
        };
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let cells = cells.enumerate().map(|(index, cell)| format!("{cell:<0$}", width(index)));
            format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
        };
        let mut text = line(&mut self.heads.iter().copied());
        for row in &self.rows {
            text.push_str(&line(&mut row.iter().map(String::as_str)));
        }
        text
    }

    /// As a table in Markdown.
    fn in_markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let heads = self.heads.iter().map(|head| (*head).to_owned()).collect();
        let mut text = line(heads) + &line(vec!["---".to_owned(); self.heads.len()]);
        for row in &self.rows {
            text.push_str(&line(row.iter().map(|cell| cell.replace('|', "\\|")).collect()));
        }
        text
    }
}

/// Bars beside each other, each of parts on top of each other.
struct Chart {
    label: String,
    width: u32,
    height: u32,
    bars: Vec<Bar>,
    days: Vec<Mark>,
}

struct Bar {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
    class: &'static str,
    title: String,
}

struct Mark {
    x: u32,
    text: String,
}

/// One part of a day's bar: how it is drawn, what it is called, how much.
type Part = (&'static str, &'static str, f64);

impl Chart {
    const BAR: u32 = 56;
    const GAP: u32 = 24;
    const HEIGHT: u32 = 140;
    const FOOT: u32 = 22;

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "pixels: between 0 and the height of the chart"
    )]
    fn of(label: String, days: &[Day], parts: impl Fn(&Day) -> Vec<Part>) -> Self {
        let stacks: Vec<Vec<Part>> = days.iter().map(parts).collect();
        let tall = |stack: &Vec<Part>| stack.iter().map(|(_, _, value)| value).sum::<f64>();
        let most = stacks.iter().map(tall).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let (mut bars, mut marks, mut x) = (Vec::new(), Vec::new(), 0);
        for (day, stack) in days.iter().zip(&stacks) {
            let mut top = Self::HEIGHT;
            for &(class, name, value) in stack.iter().filter(|(_, _, value)| *value > 0.0) {
                let height =
                    ((value / most * f64::from(Self::HEIGHT)).round() as u32).clamp(1, top);
                top -= height;
                let title = format!("{} {name}: {value}", day.day);
                bars.push(Bar { x, y: top, width: Self::BAR, height, class, title });
            }
            marks.push(Mark { x: x + Self::BAR / 2, text: day.day.format("%m-%d").to_string() });
            x += Self::BAR + Self::GAP;
        }
        Self { label, width: x, height: Self::HEIGHT + Self::FOOT, bars, days: marks }
    }
}

impl Page {
    fn of(week: &Week) -> Self {
        Self {
            title: format!("Regimen, {} to {}", week.from, week.to),
            written_at: week.written_at.format("%Y-%m-%d %H:%M UTC").to_string(),
            sections: vec![
                jobs(week),
                counted("Why jobs failed", "reason", &week.reasons),
                providers(week),
                counted("Failures of calls", "provider and class", &week.errors),
                payments(week),
                postgres(week),
            ],
        }
    }
}

fn jobs(week: &Week) -> Section {
    let rate = week.success_rate().map_or_else(
        || "no job ended".to_owned(),
        |rate| format!("{} of the jobs that ended by themselves brought a plan", percent(rate)),
    );
    let facts = vec![
        rate,
        format!("acceptance to plan: {}", seconds(week.times.to_plan)),
        format!("acceptance to first claim: {}", seconds(week.times.to_claim)),
    ];
    let rows = week.days.iter().map(|day| {
        let Day { succeeded, failed, expired, cancelled, .. } = day;
        let numbers = [succeeded, failed, expired, cancelled].map(i64::to_string);
        std::iter::once(day.day.to_string()).chain(numbers).collect()
    });
    let heads = vec!["day", "plans", "failed", "expired", "cancelled"];
    let mut section = Section::new("Jobs", facts).rows(heads, rows.collect());
    let label = "Jobs that ended each day: with a plan, and without".to_owned();
    section.chart = Some(Chart::of(label, &week.days, |day| {
        vec![
            ("good", "plans", day.succeeded as f64),
            ("bad", "failed or expired", (day.failed + day.expired) as f64),
        ]
    }));
    section
}

fn providers(week: &Week) -> Section {
    let calls: i64 = week.models.iter().map(|sum| sum.calls).sum();
    let cost = week.sum(|day| day.cost_micros) as f64 / 1e6;
    let mut facts = vec![format!("{calls} paid calls, {cost:.2} USD")];
    if let Some(each) = week.cost_per_plan() {
        facts.push(format!("{each:.4} USD a plan"));
    }
    let rows = week.models.iter().map(|sum| {
        let share = sum.calls as f64 / calls.max(1) as f64;
        vec![
            sum.provider.clone().unwrap_or_default(),
            sum.model.clone().unwrap_or_default(),
            sum.calls.to_string(),
            percent(share),
            format!("{:.4}", sum.cost_micros as f64 / 1e6),
        ]
    });
    let heads = vec!["provider", "model", "calls", "share", "USD"];
    let mut section = Section::new("Providers and money", facts).rows(heads, rows.collect());
    section.chart = Some(Chart::of("US dollars a day".to_owned(), &week.days, |day| {
        vec![("cost", "USD", day.cost_micros as f64 / 1e6)]
    }));
    section
}

fn payments(week: &Week) -> Section {
    let Webhooks { events, dead, recovered, lag } = week.webhooks;
    let Subscriptions { new_users, begun } = week.subscriptions;
    let Standing { paying_users, cohort, churned, .. } = week.standing;
    let share = |share: Option<f64>| share.map(|share| format!(" ({})", percent(share)));
    let (conversion, churn) = (share(week.conversion()), share(week.churn()));
    Section::new(
        "Payments",
        vec![
            format!(
                "{new_users} new users, {begun} subscriptions begun{}",
                conversion.unwrap_or_default()
            ),
            format!(
                "{churned} of {cohort} subscriptions paid for at the beginning have ended since{}",
                churn.unwrap_or_default()
            ),
            format!("{paying_users} users pay now"),
            format!("{events} events of Stripe's, {dead} given up, {recovered} found by looking"),
            format!("arrival to effect: {}", seconds(lag)),
        ],
    )
}

fn postgres(week: &Week) -> Section {
    let title = "Statements that took longest";
    let Some(slow) = &week.slow else {
        return Section::new(title, vec!["pg_stat_statements is not there".to_owned()]);
    };
    let rows = slow.iter().map(|slow| {
        vec![
            format!("{:.1} s", slow.total_seconds),
            slow.calls.to_string(),
            format!("{:.2} ms", slow.mean_ms),
            slow.query.clone(),
        ]
    });
    Section::new(title, vec!["since pg_stat_statements was reset".to_owned()])
        .rows(vec!["in all", "calls", "each", "statement"], rows.collect())
}

fn counted(title: &'static str, what: &'static str, counts: &[Count]) -> Section {
    if counts.is_empty() {
        return Section::new(title, vec!["none".to_owned()]);
    }
    let rows = counts.iter().map(|count| vec![count.what.clone(), count.count.to_string()]);
    Section::new(title, Vec::new()).rows(vec![what, "count"], rows.collect())
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn seconds(times: Percentiles) -> String {
    match (times.p50, times.p95) {
        (Some(p50), Some(p95)) => format!("{p50:.1} s in the middle, {p95:.1} s for 95 %"),
        _ => "nothing to measure".to_owned(),
    }
}

#[derive(Template)]
#[template(path = "report.txt")]
struct Text<'a> {
    page: &'a Page,
}

#[derive(Template)]
#[template(path = "report.md")]
struct Markdown<'a> {
    page: &'a Page,
}

#[derive(Template)]
#[template(path = "report.html")]
struct Html<'a> {
    page: &'a Page,
}
