//! `regimen-worker migrate`: brings the database to this release's schema, or
//! tells what that would do.

use std::error::Error;

use regimen_common::config::Env;
use regimen_common::db::migrate::{MigrateError, TURN, migrate_telling};
use regimen_common::db::{Step, rehearse, url_from_env};
use regimen_common::{process, start};
use secrecy::SecretString;

/// What `regimen-worker migrate` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print the SQL that would run and the locks it takes, and change nothing.
    ///
    /// It is run on the database in a transaction that is rolled back: its locks are held
    /// meanwhile, a minute at most. On a large database in use, try it on a copy first.
    #[arg(long)]
    dry_run: bool,
}

/// Does what was asked for.
pub(super) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut env = Env::from_process();
    let url = url_from_env(&mut env);
    let url = env.finish(url)?;
    let done = process::runtime()?
        .block_on(async { if args.dry_run { dry_run(&url).await } else { apply(&url).await } });
    done.map_err(|error| match error {
        MigrateError::Db(error) => start::of_database(&url, error),
        other => other.into(),
    })
}

async fn apply(url: &SecretString) -> Result<(), MigrateError> {
    let report = migrate_telling(url, TURN, &process::say).await?;
    if !report.indexes.is_empty() {
        process::say(&format!("built {}", report.indexes.join(", ")));
    }
    let version = report.version;
    process::say(&if report.applied.is_empty() {
        format!("nothing to do: the database has version {version}")
    } else {
        let applied = report.applied.join(", ");
        format!("applied {applied}; the database has version {version}")
    });
    Ok(())
}

async fn dry_run(url: &SecretString) -> Result<(), MigrateError> {
    // All of the output is SQL.
    let rehearsal = rehearse(url, &|news| process::say(&format!("-- {news}"))).await?;
    if rehearsal.steps.is_empty() {
        process::say("-- nothing to do: the database is up to date");
        return Ok(());
    }
    process::say(
        "-- Locks are those on tables that are there now, each where it is first taken. A migration\n\
         -- holds its locks to its end; the times are those of this rehearsal, which was rolled back.",
    );
    for step in &rehearsal.steps {
        process::say(&text(step));
    }
    Ok(())
}

fn text(step: &Step) -> String {
    let mut text = match step.took {
        Some(took) => format!("\n-- {}: {} ms, in a transaction\n", step.name, took.as_millis()),
        None => format!(
            "\n-- {}: before the migrations, outside of any transaction; it waits for transactions \
             that are open then\n",
            step.name
        ),
    };
    if step.locks.is_empty() {
        text.push_str("-- locks no table that is there now\n");
    }
    for lock in &step.locks {
        text.push_str(&format!("-- locks {}: {} ({})\n", lock.table, lock.mode, lock.meaning()));
    }
    text + step.sql.trim_end()
}
