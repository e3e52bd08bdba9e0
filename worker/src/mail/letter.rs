//! The texts of notices to users, in the app and by mail.

use askama::Template;
use chrono::DateTime;
use regimen_common::billing::currency;
use regimen_common::billing::verdict::{BillingNotice, NoticeKind};
use regimen_common::db::billing::notices::ClaimedMail;
use url::Url;
use uuid::Uuid;

/// A mail, ready to be sent.
#[derive(Debug)]
pub(super) struct Letter {
    /// The local part of its Message-ID.
    pub(super) id: Uuid,
    /// One line.
    pub(super) subject: &'static str,
    /// The plain text.
    pub(super) text: String,
    /// The HTML, with a button.
    pub(super) html: String,
}

/// The sentence that the app shows.
pub fn in_app_text(notice: &BillingNotice) -> String {
    let amount = amount(notice).map(|amount| format!(" of {amount}")).unwrap_or_default();
    match notice.kind {
        NoticeKind::PaymentFailed => match date(notice) {
            Some(date) => format!("Your payment{amount} failed. We try again on {date}."),
            None => format!("Your payment{amount} failed. Please update your payment method."),
        },
        NoticeKind::ActionRequired => {
            format!("Your bank wants you to confirm a payment{amount}.")
        }
        NoticeKind::TrialWillEnd => match date(notice) {
            Some(date) => format!("Your free trial ends on {date}."),
            None => "Your free trial is about to end.".to_owned(),
        },
        NoticeKind::DisputeOpened => {
            format!("A payment{amount} was disputed with your bank.")
        }
    }
}

/// The mail for a notice. `app_url`: where users manage their plan.
///
/// # Errors
/// Never in practice: the template has nothing that could fail.
pub(super) fn write(mail: &ClaimedMail, app_url: Option<&Url>) -> askama::Result<Letter> {
    let notice = &mail.notice;
    let words = words(notice.kind);
    let name = mail.name.as_deref().map(one_line).filter(|name| !name.is_empty());
    let greeting = name.map_or_else(|| "Hello,".to_owned(), |name| format!("Hello {name},"));
    let news = in_app_text(notice);
    let web = |url: &&str| url.starts_with("https://") || url.starts_with("http://");
    let link = notice.url.as_deref().filter(web).or(app_url.map(Url::as_str));
    let id = format!("stripe:mail:{}", mail.event_id);
    Ok(Letter {
        id: Uuid::new_v5(&Uuid::NAMESPACE_URL, id.as_bytes()),
        subject: words.subject,
        text: text(&greeting, &news, words, link),
        html: Html { greeting: &greeting, news: &news, words, link }.render()?,
    })
}

/// The fixed texts of a kind of mail.
#[derive(Clone, Copy)]
struct Words {
    subject: &'static str,
    advice: &'static str,
    button: &'static str,
}

fn words(kind: NoticeKind) -> Words {
    match kind {
        NoticeKind::PaymentFailed => Words {
            subject: "Your payment did not go through",
            advice: "Your plan stays as it is while we try again. To be sure of it, check your payment method.",
            button: "Check your payment",
        },
        NoticeKind::ActionRequired => Words {
            subject: "Please confirm your payment",
            advice: "Until you confirm it, the payment waits and your plan may pause.",
            button: "Confirm the payment",
        },
        NoticeKind::TrialWillEnd => Words {
            subject: "Your free trial is about to end",
            advice: "Your plan goes on by itself if a payment method is on file. If you do not want that, cancel before the trial ends.",
            button: "Manage your plan",
        },
        NoticeKind::DisputeOpened => Words {
            subject: "A payment of yours was disputed",
            advice: "If this was a mistake, please tell your bank and us. Otherwise nothing is left for you to do.",
            button: "See your payments",
        },
    }
}

fn text(greeting: &str, news: &str, words: Words, link: Option<&str>) -> String {
    let link = link.map(|link| format!("\n\n{}: {link}", words.button)).unwrap_or_default();
    format!("{greeting}\n\n{news} {}{link}\n", words.advice)
}

/// The mail as HTML; all values are escaped.
#[derive(Template)]
#[template(path = "mail.html")]
struct Html<'a> {
    greeting: &'a str,
    news: &'a str,
    words: Words,
    link: Option<&'a str>,
}

/// A user's name, safe for one line of text.
fn one_line(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(80).collect::<String>().trim().to_owned()
}

/// The amount in the currency's usual unit.
fn amount(notice: &BillingNotice) -> Option<String> {
    let (amount, currency) = (notice.amount?, notice.currency.as_deref()?);
    let digits = currency::decimals(currency);
    let currency = currency.to_ascii_uppercase();
    let unit = 10_i64.pow(digits);
    let (whole, part) = (amount / unit, (amount % unit).abs());
    Some(match usize::try_from(digits).unwrap_or_default() {
        0 => format!("{whole} {currency}"),
        width => format!("{whole}.{part:0width$} {currency}"),
    })
}

fn date(notice: &BillingNotice) -> Option<String> {
    let date = DateTime::from_timestamp(notice.at?, 0)?;
    Some(date.format("%-d %B %Y").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(kind: NoticeKind, amount: i64, currency: &str, at: Option<i64>) -> BillingNotice {
        BillingNotice {
            kind,
            user: Uuid::nil(),
            amount: Some(amount),
            currency: Some(currency.to_owned()),
            url: Some("https://pay.example.test/?a=1&b=\"2\"".to_owned()),
            at,
        }
    }

    #[test]
    fn amounts_are_written_as_their_currency_is() {
        let text = |amount, currency| {
            in_app_text(&notice(NoticeKind::PaymentFailed, amount, currency, Some(1_800_574_790)))
        };
        assert_eq!(
            text(999, "eur"),
            "Your payment of 9.99 EUR failed. We try again on 21 January 2027."
        );
        assert!(text(500, "jpy").contains("of 500 JPY"));
        assert!(text(1_005, "kwd").contains("of 1.005 KWD"));
        assert!(text(100_005, "usd").contains("of 1000.05 USD"));
    }

    #[test]
    fn a_mail_says_the_same_in_text_and_html_and_escapes_what_users_typed() {
        let mail = ClaimedMail {
            event_id: "evt_1".to_owned(),
            notice: notice(NoticeKind::ActionRequired, 999, "eur", None),
            address: None,
            name: Some("Ana <script>\r\nBcc: x".to_owned()),
            attempts: 1,
        };
        let letter = write(&mail, None).unwrap();
        assert!(letter.text.contains("Hello Ana <script>Bcc: x,\n"));
        assert!(letter.html.contains("Ana &#60;script&#62;Bcc: x"));
        assert!(letter.html.contains("href=\"https://pay.example.test/?a=1&#38;b=&#34;2&#34;\""));
        for part in [&letter.text, &letter.html] {
            assert!(part.contains("confirm a payment of 9.99 EUR."), "{part}");
        }
        assert_eq!(letter.id, write(&mail, None).unwrap().id);
    }

    #[test]
    fn only_web_links_become_buttons() {
        let mut mail = ClaimedMail {
            event_id: "evt_1".to_owned(),
            notice: notice(NoticeKind::TrialWillEnd, 1, "eur", None),
            address: None,
            name: None,
            attempts: 1,
        };
        mail.notice.url = Some("javascript:alert(1)".to_owned());
        assert!(!write(&mail, None).unwrap().html.contains("href"));
        let app = Url::parse("https://app.example.test/plan").unwrap();
        assert!(write(&mail, Some(&app)).unwrap().text.contains("https://app.example.test/plan"));
    }
}
