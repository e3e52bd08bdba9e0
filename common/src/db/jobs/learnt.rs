//! What a worker learnt of words that no food table knows, kept with its job.

use tokio_postgres::types::Json;

use super::Held;
use crate::db::{DbError, GenericClient};
use crate::food::Learnt;

/// Keeps what was learnt for later rounds, and tells the known words no more; false when
/// the claim is stale.
///
/// # Errors
/// Nothing was written.
pub async fn keep_learnt<C: GenericClient>(
    client: &C,
    held: Held,
    learnt: &[Learnt],
) -> Result<bool, DbError> {
    let statement = client
        .prepare_cached(
            "-- keep learnt
             update regimen.jobs job set
                 input = input || jsonb_build_object('learnt', $3::jsonb),
                 warnings = (
                     select jsonb_agg(jsonb_set(warning, '{words}', words) order by at)
                     from (
                         select warning, at, coalesce((
                             select jsonb_agg(word order by n)
                             from jsonb_array_elements(warning -> 'words')
                                  with ordinality as own (word, n)
                             where not $4::jsonb @> jsonb_build_array(word)
                         ), '[]') as words
                         from jsonb_array_elements(job.warnings) with ordinality as told (warning, at)
                     ) as left_over
                     where words <> '[]' or warning -> 'words' = '[]'
                 )
             where id = $1 and fence = $2 and worker_id is not null",
        )
        .await?;
    let known: Vec<&str> =
        learnt.iter().filter(|one| one.is_known()).map(|one| one.words.as_str()).collect();
    let written =
        client.execute(&statement, &[&held.id, &held.fence, &Json(learnt), &Json(known)]).await?;
    if written == 0 {
        super::count_refused_write();
    }
    Ok(written == 1)
}
