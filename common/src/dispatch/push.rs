//! The only code that pushes ids to the dispatch lists. A push may fail or
//! hang: it is counted and dropped, because the reconciler dispatches ids that
//! did not arrive.

use std::time::Duration;

use tokio::time::timeout;

use super::{List, Message, Queue};
use crate::db::jobs::NextJob;
use crate::redis::RedisError;

/// The time limit of a push.
const LIMIT: Duration = Duration::from_secs(1);

impl Queue {
    /// Pushes dispatched jobs, oldest first; requeued ones go to the head of their list.
    pub async fn push_jobs(&self, next: &[NextJob]) {
        let mut next: Vec<&NextJob> = next.iter().collect();
        next.sort_by_key(|job| job.at);
        for list in List::ALL {
            let of_list = || next.iter().filter(|job| List::from(job.class) == list);
            let message = |job: &&NextJob| Message::new(job.id, job.at, None);
            let new: Vec<_> = of_list().filter(|job| !job.returned).map(message).collect();
            let back: Vec<_> = of_list().filter(|job| job.returned).map(message).collect();
            let pushes = async {
                tokio::try_join!(self.push_before(list, &back), self.push(list, &new)).map(drop)
            };
            within_limit(list, new.len() + back.len(), pushes).await;
        }
    }

    /// Pushes other ids, oldest first.
    pub async fn push_ids(&self, list: List, messages: &[Message]) {
        within_limit(list, messages.len(), self.push(list, messages)).await;
    }
}

async fn within_limit(
    list: List,
    count: usize,
    push: impl Future<Output = Result<(), RedisError>>,
) {
    if count == 0 {
        return;
    }
    let problem = match timeout(LIMIT, push).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", LIMIT.as_secs()),
    };
    metrics::counter!("regimen_push_failures_total").increment(1);
    tracing::debug!(
        problem,
        count,
        list = list.as_str(),
        "could not push ids; the reconciler dispatches them"
    );
}
