//! Runs the same statements for several jobs in one transaction, without waiting for one
//! job's answer before the next one's statement is sent.

use futures_util::future::join_all;
use uuid::Uuid;

use crate::db::DbError;

/// The results of `one` for each of `of`, in their order. The statements are sent in the
/// order of the jobs' ids, so that two transactions over many jobs cannot deadlock; they must
/// be prepared.
///
/// # Errors
/// The first one; the transaction cannot continue.
pub(super) async fn each<'a, W, T, F>(
    of: &'a [W],
    job: impl Fn(&W) -> Uuid,
    one: impl Fn(&'a W) -> F,
) -> Result<Vec<T>, DbError>
where
    F: Future<Output = Result<T, DbError>>,
{
    let mut order: Vec<usize> = (0..of.len()).collect();
    order.sort_unstable_by_key(|&n| job(&of[n]));
    let done = join_all(order.iter().map(|&n| one(&of[n]))).await;
    // The first error is the cause of the others.
    let done = done.into_iter().collect::<Result<Vec<T>, DbError>>()?;
    let mut done: Vec<(usize, T)> = order.into_iter().zip(done).collect();
    done.sort_unstable_by_key(|&(n, _)| n);
    Ok(done.into_iter().map(|(_, done)| done).collect())
}
