//! Holds the running ingress against its own description: schemathesis makes
//! up requests from `/openapi.json`, valid and invalid, and checks every answer.

use uuid::Uuid;

use super::SuiteError;
use crate::clock;
use crate::place::Place;
use crate::python::Venv;
use crate::token::Claims;
use regimen_devtools::process::{Output, Process};

/// Where its files are.
const FOLDER: &str = "load-tests/schemathesis";

/// Limits would end the run early; they have tests of their own.
const INGRESS: [(&str, &str); 6] = [
    ("RATE_GENERATE_PLANS", "1000000/h"),
    ("RATE_MEAL_PLAN", "1000000/h"),
    ("RATE_WORKOUT_PLAN", "1000000/h"),
    ("RATE_DAILY", "1000000/d"),
    ("MONTHLY_QUOTA", "false"),
    ("MAX_QUEUED", "1000000"),
];

/// Made-up requests are the same in every run, so that a failure is everybody's.
const SEED: &str = "20261122";

/// Routes that ask Stripe, for which nothing answers here. The ingress's own
/// tests hold their answers against the description, with a stand-in for Stripe.
const ASK_STRIPE: &str =
    "^/(v1/billing/|api/admin/|api/stripe/(create-checkout-session|invoices|admin/))";

/// Whose token the requests carry: an operator's, for whom no route is closed.
const USER: Uuid = Uuid::from_u128(0x6f1c_2a34_0000_4000_8000_0000_0000_f422);

const TOKEN_LIFE: u64 = 2 * 3600;

/// Runs it.
///
/// # Errors
/// It found something, or could not run.
pub(super) fn run(place: &Place<'_>) -> Result<(), SuiteError> {
    let requirements = place.file(FOLDER).join("requirements.txt");
    let venv = Venv::of(place.session, "schemathesis", &requirements)?;
    let (stack, secrets) = place.stack(&INGRESS, &[])?;
    let url = stack.ingress_url()?;
    let claims = Claims {
        user: USER,
        role: Some("admin"),
        issued_at: clock::seconds_since_1970(),
        life: TOKEN_LIFE,
    };
    let mut command = venv.program("st");
    command
        .current_dir(place.session.workspace.place(""))
        .arg("--config-file")
        .arg(place.file(FOLDER).join("schemathesis.toml"))
        .args(["run", &format!("{url}/openapi.json"), "--url", &url, "--checks", "all"])
        .args(["--exclude-path-regex", ASK_STRIPE])
        .args(["--seed", &std::env::var("SEED").unwrap_or_else(|_| SEED.to_owned())])
        .env("REGIMEN_TOKEN", claims.sign(&secrets.jwt));
    Process::run(place.session, "schemathesis", command, Output::Ours)?;
    Ok(())
}
