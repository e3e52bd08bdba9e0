//! How long the console's pages take with millions of finished jobs: every page that one
//! of them links to, and the lists with filters, of which some match nothing.

use std::collections::{BTreeSet, VecDeque};
use std::io::Write;
use std::time::Instant;

use clap::Args;
use ureq::Agent;

use super::BenchError;
use super::ground::{Build, Ground};
use super::history::Measured;
use super::spread::Spread;
use crate::session::Session;

/// What a page may take.
const PROMISE_MS: f64 = 50.0;
/// More kinds of pages than there are.
const MOST_PAGES: usize = 200;
/// Lists with filters, which are forms and not links. `{user}` has jobs; `{day}` is in the
/// history. No job is a workout, of gemini, or has the model or the reason.
const FILTERED: [&str; 12] = [
    "/console/jobs?state=failed",
    "/console/jobs?state=succeeded&class=free",
    "/console/jobs?kind=workout",
    "/console/jobs?provider=gemini",
    "/console/jobs?model=none",
    "/console/jobs?reason=deadline",
    "/console/jobs?user={user}",
    "/console/jobs?from={day}T00:00&to={day}T12:00",
    "/console/jobs?state=failed&kind=workout&provider=openai",
    "/console/users?user={user}",
    "/console/money?day={day}&by=model",
    "/console/money?day={day}&by=user",
];
/// A day of the history.
const DAY: &str = "select (now() - interval '20 days')::date";
/// The form that asks about all jobs that match.
const BATCH: &str = "/console/jobs/batch";
const ALL_FAILED: &str = "do=retry-all&filter=state%3Dfailed";

/// What `cargo xtask bench console` takes.
#[derive(Args)]
pub(crate) struct Console {
    /// How many finished jobs the history has.
    #[arg(long, value_name = "N", default_value_t = 5_000_000)]
    jobs: u32,
    /// How often each page is requested.
    #[arg(long, value_name = "N", default_value_t = 50)]
    requests: u32,
}

impl Console {
    /// Measures and prints each page's times.
    ///
    /// # Errors
    /// See [`BenchError`].
    pub(super) fn run(&self, session: &Session) -> Result<(), BenchError> {
        let ground = Ground::take(session, Build::RELEASE)?;
        let history = Measured::start(&ground, &ground.folder.join("history"), self.jobs)?;
        let browser = Browser::sign_in(&history.stack.console_link(&ground.binaries, "admin")?)?;
        let day = history.psql.run(&format!("copy ({DAY}) to stdout"))?;
        let user = history.user.to_string();
        let fill = |path: &str| path.replace("{user}", &user).replace("{day}", day.trim());
        let pages = browser.pages(FILTERED.iter().map(|path| fill(path)))?;
        session.say(format_args!("requesting {} pages, {} times each", pages.len(), self.requests));
        let mut out = std::io::stdout();
        let _ = writeln!(
            out,
            "{} finished jobs, {} requests of each page, one at a time, milliseconds",
            self.jobs, self.requests
        );
        let mut slow = 0;
        for page in &pages {
            session.check()?;
            let asked = || browser.request(page);
            // The first one fills caches.
            let size = asked()?.len();
            let times = (0..self.requests).map(|_| {
                let began = Instant::now();
                asked()?;
                Ok(began.elapsed().as_secs_f64() * 1e3)
            });
            let times = Spread::of(times.collect::<Result<_, BenchError>>()?);
            let (half, most) = (times.percentile(0.5), times.percentile(0.99));
            let mark = if most > PROMISE_MS { "  OVER" } else { "" };
            slow += usize::from(most > PROMISE_MS);
            let shown = page.shown().replace(&user, "{user}");
            let _ =
                writeln!(out, "p50 {half:>7.1}   p99 {most:>7.1}   {size:>7} B   {shown}{mark}");
        }
        let _ = writeln!(out, "{slow} of {} pages over {PROMISE_MS} ms", pages.len());
        Ok(())
    }
}

/// A page, or the answer to a form.
enum Page {
    Get(String),
    Post(&'static str, String),
}

impl Page {
    fn shown(&self) -> String {
        match self {
            Self::Get(path) => path.clone(),
            Self::Post(path, _) => format!("POST {path}"),
        }
    }
}

/// A browser that an operator is signed in with.
struct Browser {
    agent: Agent,
    base: String,
    cookie: String,
}

impl Browser {
    /// Signs in by a link, as its page does.
    fn sign_in(link: &str) -> Result<Self, BenchError> {
        let config = Agent::config_builder().proxy(None).http_status_as_error(false);
        let agent: Agent = config.max_redirects(0).build().into();
        let base = link.split("/console").next().unwrap_or_default().to_owned();
        let mut browser = Self { agent, base, cookie: String::new() };
        let path = link.trim_start_matches(&browser.base).to_owned();
        let page = browser.request(&Page::Get(path))?;
        let secret = hidden(&page, "secret")?;
        let answer = browser
            .agent
            .post(format!("{}/console/link", browser.base))
            .header("sec-fetch-site", "same-origin")
            .content_type("application/x-www-form-urlencoded")
            .send(format!("secret={secret}"))
            .map_err(measurement)?;
        let cookie = answer.headers().get("set-cookie").and_then(|line| line.to_str().ok());
        let cookie = cookie.and_then(|line| line.split(';').next());
        browser.cookie = cookie.ok_or_else(|| measurement("no session"))?.to_owned();
        Ok(browser)
    }

    /// The text of a page.
    fn request(&self, page: &Page) -> Result<String, BenchError> {
        let url = |path: &str| format!("{}{path}", self.base);
        let answer = match page {
            Page::Get(path) => self
                .agent
                .get(url(path))
                .header("sec-fetch-site", "same-origin")
                .header("cookie", &self.cookie)
                .call(),
            Page::Post(path, body) => self
                .agent
                .post(url(path))
                .header("sec-fetch-site", "same-origin")
                .header("cookie", &self.cookie)
                .content_type("application/x-www-form-urlencoded")
                .send(body),
        };
        let mut answer = answer.map_err(measurement)?;
        if answer.status() != 200 {
            return Err(measurement(format!("{} of {}", answer.status(), page.shown())));
        }
        answer.body_mut().read_to_string().map_err(measurement)
    }

    /// One page of each kind: those that a page links to, `more`, and those that they link
    /// to. Pages are of one kind when they differ in ids and in the values of queries.
    fn pages(&self, more: impl Iterator<Item = String>) -> Result<Vec<Page>, BenchError> {
        let (mut pages, mut kinds, mut seen) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        let given: Vec<_> = more.collect();
        let mut open: VecDeque<_> =
            ["/console".to_owned()].into_iter().chain(given.clone()).collect();
        while let Some(path) = open.pop_front() {
            let is_new = kinds.insert(kind(&path)) || given.contains(&path);
            if !is_new || !seen.insert(path.clone()) {
                continue;
            }
            if pages.len() == MOST_PAGES {
                return Err(measurement(format!("more than {MOST_PAGES} kinds of pages")));
            }
            let page = Page::Get(path);
            open.extend(links(&self.request(&page)?));
            pages.push(page);
        }
        let token = hidden(&self.request(&Page::Get("/console/jobs".to_owned()))?, "token")?;
        pages.push(Page::Post(BATCH, format!("token={token}&{ALL_FAILED}")));
        Ok(pages)
    }
}

fn measurement(problem: impl ToString) -> BenchError {
    BenchError::Measurement(problem.to_string())
}

/// The value of a hidden field.
fn hidden(page: &str, name: &str) -> Result<String, BenchError> {
    let value = page.split(&format!("name=\"{name}\" value=\"")).nth(1);
    let value = value.and_then(|rest| rest.split('"').next());
    value.map(str::to_owned).ok_or_else(|| measurement(format!("a page without a field {name}")))
}

/// The pages of the console that a page links to. Files are no pages.
fn links(page: &str) -> Vec<String> {
    let links = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let links = links.map(|link| link.replace("&amp;", "&").replace("&#38;", "&"));
    let is_page = |link: &String| {
        let path = link.split('?').next().unwrap_or_default();
        (path == "/console" || path.starts_with("/console/"))
            && !path.starts_with("/console/assets/")
            && !path.rsplit('/').next().is_some_and(|name| name.contains('.'))
    };
    links.filter(is_page).collect()
}

/// A path without its ids, and the names of its query.
fn kind(path: &str) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let is_id = |part: &str| part.len() >= 32 && part.bytes().any(|byte| byte.is_ascii_digit());
    let parts: Vec<_> =
        path.split('/').map(|part| if is_id(part) { "{id}" } else { part }).collect();
    let mut names: Vec<_> = query
        .split('&')
        // What an action does and to what are kinds of its own.
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if !["do", "what", "span"].contains(&name) => name,
            _ => pair,
        })
        .collect();
    names.sort_unstable();
    format!("{}?{}", parts.join("/"), names.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_one_kind_differ_in_ids_and_values_only() {
        let job = "/console/jobs/018f0000-0001-7001-8000-000000000000";
        assert_eq!(kind(job), kind("/console/jobs/018f0000-0002-7001-8000-000000000000"));
        assert_eq!(kind("/console/jobs?user=1&state=a"), kind("/console/jobs?state=b&user=2"));
        assert_ne!(kind("/console?span=1h"), kind("/console?span=24h"));
        assert_ne!(kind("/console/act?do=pause"), kind("/console/act?do=resume"));
        assert_ne!(kind(job), kind("/console/jobs"));
    }

    #[test]
    fn only_pages_of_the_console_are_followed() {
        let page = r##"<a href="/console/jobs?a=1&amp;b=2"> <a href="/console/assets/a.css">
            <a href="#main"> <a href="/console/jobs.csv?a"> <a href="https://example.test/console">"##;
        assert_eq!(links(page), ["/console/jobs?a=1&b=2"]);
    }
}
