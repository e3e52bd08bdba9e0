//! Checks the running ingress against its OpenAPI description: schemathesis
//! generates valid and invalid requests from `/openapi.json` and checks every
//! answer.

use uuid::Uuid;

use super::SuiteError;
use crate::clock;
use crate::place::Place;
use crate::python::Venv;
use crate::token::Claims;
use regimen_devtools::process::{Output, Process};

/// The folder of its files.
const FOLDER: &str = "load-tests/schemathesis";

/// Limits would refuse the generated requests; they have tests of their own.
const INGRESS: [(&str, &str); 6] = [
    ("RATE_GENERATE_PLANS", "1000000/h"),
    ("RATE_MEAL_PLAN", "1000000/h"),
    ("RATE_WORKOUT_PLAN", "1000000/h"),
    ("RATE_DAILY", "1000000/d"),
    ("MONTHLY_QUOTA", "false"),
    ("MAX_QUEUED", "1000000"),
];

/// Every run generates the same requests, so that a failure can be reproduced.
const SEED: &str = "20261122";

/// Routes that call Stripe, which nothing serves here. The ingress's own tests compare
/// their answers with the description, with a stand-in for Stripe.
const ASK_STRIPE: &str =
    "^/(v1/billing/|api/admin/|api/stripe/(create-checkout-session|invoices|admin/))";

/// The user of the requests: an operator, who may call every route.
const USER: Uuid = Uuid::from_u128(0x6f1c_2a34_0000_4000_8000_0000_0000_f422);

const TOKEN_LIFE: u64 = 2 * 3600;

/// Runs it.
///
/// # Errors
/// It found a problem, or could not run.
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
