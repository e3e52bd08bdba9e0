//! The writes that every job makes, each together with those that other jobs of this process
//! make at the same moment: the start of a call, its reply, the end with the plan.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use regimen_common::db::group_commit::{Alone, Committer, GroupCommit};
use regimen_common::db::jobs::{
    self, CancelOutcome, Canceller, EndOutcome, Ended, Held, NewAttempt, PaidReply, Success,
    SuccessfulEnd,
};
use regimen_common::db::plans::{NewPlan, PlanColumns};
use regimen_common::db::{DbError, Pool, StatementLimits};
use regimen_common::job::JobEventKind;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::llm::RawReply;
use crate::llm::log::Start;

/// Makes the writes of plan jobs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Writes {
    starts: GroupCommit<Starts>,
    replies: GroupCommit<Replies>,
    ends: GroupCommit<Ends>,
}

impl Writes {
    /// One for the process. `per_user` is the cap on running jobs of one user.
    pub fn new(db: &Pool, per_user: i64) -> Self {
        let (limit, alone) = (StatementLimits::WORK.usual, Alone::on(db));
        Self {
            starts: GroupCommit::new(Starts(db.clone()), limit, alone.clone()),
            replies: GroupCommit::new(Replies(db.clone()), limit, alone.clone()),
            ends: GroupCommit::new(Ends { db: db.clone(), per_user }, limit, alone),
        }
    }

    /// Records a call that is about to be made; returns its number in the job and its
    /// event's, or `None` when the claim is stale.
    ///
    /// # Errors
    /// Do not make the call.
    pub async fn start(&self, start: NewCall) -> Result<Option<(i32, i32)>, DbError> {
        self.starts.write(start).await.map_err(DbError::Together)
    }

    /// Stores a reply; returns the number of its event while the claim is valid.
    ///
    /// # Errors
    /// It may not be stored; keep it and retry.
    pub async fn reply(&self, reply: Arc<KeptReply>) -> Result<Option<i32>, DbError> {
        self.replies.write(reply).await.map_err(DbError::Together)
    }

    /// Ends a job as succeeded, with its plan; cancels it if the account was deleted. `None`
    /// when the claim is stale.
    ///
    /// # Errors
    /// It may not be written; keep it and retry.
    pub async fn end(&self, ending: Arc<Ending>) -> Result<Option<Ended>, DbError> {
        self.ends.write(ending).await.map_err(DbError::Together)
    }
}

/// A call about to be made.
#[derive(Debug)]
pub struct NewCall {
    /// The claim.
    pub held: Held,
    /// The id of its row.
    pub id: Uuid,
    /// The version of the prompt texts.
    pub prompt_version: &'static str,
    /// The call.
    pub start: Start,
}

impl NewCall {
    fn attempt(&self) -> NewAttempt<'_> {
        NewAttempt {
            id: self.id,
            provider: self.start.provider.as_str(),
            model: &self.start.model,
            prompt_version: self.prompt_version,
            most_micros: i64::try_from(self.start.most_micros).unwrap_or(i64::MAX),
            warning: self.start.warning.as_deref(),
        }
    }
}

/// A reply to be stored.
#[derive(Debug)]
pub struct KeptReply {
    /// The claim that paid for it.
    pub held: Held,
    /// Its attempt.
    pub attempt_id: Uuid,
    /// The reply.
    pub raw: RawReply,
}

impl KeptReply {
    fn paid(&self) -> PaidReply<'_> {
        PaidReply {
            held: self.held,
            attempt_id: self.attempt_id,
            raw: &self.raw.body,
            http_status: Some(i32::from(self.raw.status)),
            request_id: self.raw.request_id.as_deref(),
        }
    }
}

/// A finished job to be written.
#[derive(Debug)]
pub struct Ending {
    /// The claim.
    pub held: Held,
    /// Its result.
    pub success: Success,
    /// The user.
    pub user_id: Uuid,
    /// The quiz.
    pub quiz_result_id: Option<Uuid>,
    /// When the plan was requested.
    pub requested_at: DateTime<Utc>,
    /// The plan in the front end's format.
    pub plan_data: Box<RawValue>,
    /// What the app stores beside it.
    pub beside: Beside,
}

/// What the app stores beside a plan, in its own columns.
#[derive(Debug)]
pub enum Beside {
    /// Of a meal plan.
    Meal {
        /// kcal a day.
        daily_calories: i32,
        /// JSON text of the quiz's `preferredExercise`.
        preferences: String,
        /// The quiz's `dietaryStyle`.
        restrictions: String,
    },
    /// Of a workout plan.
    Workout {
        /// JSON text of the quiz's `preferredExercise`.
        workout_type: String,
        /// The quiz's `exerciseFrequency`.
        duration_per_session: String,
        /// Training days a week.
        frequency_per_week: i32,
    },
}

impl Beside {
    fn columns(&self) -> PlanColumns<'_> {
        match self {
            Self::Meal { daily_calories, preferences, restrictions } => {
                PlanColumns::Meal { daily_calories: *daily_calories, preferences, restrictions }
            }
            Self::Workout { workout_type, duration_per_session, frequency_per_week } => {
                PlanColumns::Workout {
                    workout_type,
                    duration_per_session,
                    frequency_per_week: *frequency_per_week,
                }
            }
        }
    }
}

impl Ending {
    fn end(&self) -> SuccessfulEnd<'_> {
        let plan = NewPlan {
            id: self.success.plan_id,
            user_id: self.user_id,
            quiz_result_id: self.quiz_result_id,
            requested_at: self.requested_at,
            plan_data: &self.plan_data,
            columns: self.beside.columns(),
        };
        SuccessfulEnd { held: self.held, success: &self.success, plan }
    }
}

#[derive(Debug, Clone)]
struct Starts(Pool);

impl Committer for Starts {
    type Write = NewCall;
    type Done = Option<(i32, i32)>;

    fn turn(call: &NewCall) -> Uuid {
        call.held.id
    }

    async fn together(&self, calls: &[&NewCall]) -> Result<Vec<Option<Self::Done>>, DbError> {
        let starts: Vec<_> = calls.iter().map(|call| (call.held, call.attempt())).collect();
        let started = jobs::start_attempts(&self.0.get().await?, &starts).await?;
        Ok(started.into_iter().map(Some).collect())
    }

    async fn alone(&self, call: &NewCall) -> Result<Self::Done, DbError> {
        jobs::start_attempt(&self.0.get().await?, call.held, &call.attempt()).await
    }
}

#[derive(Debug, Clone)]
struct Replies(Pool);

impl Committer for Replies {
    type Write = Arc<KeptReply>;
    type Done = Option<i32>;

    fn turn(reply: &Arc<KeptReply>) -> Uuid {
        reply.held.id
    }

    async fn together(
        &self,
        replies: &[&Arc<KeptReply>],
    ) -> Result<Vec<Option<Self::Done>>, DbError> {
        let paid: Vec<_> = replies.iter().map(|reply| reply.paid()).collect();
        let stored = jobs::store_replies(&mut self.0.get().await?, &paid).await?;
        Ok(stored.into_iter().map(Some).collect())
    }

    async fn alone(&self, reply: &Arc<KeptReply>) -> Result<Self::Done, DbError> {
        jobs::store_reply(&self.0.get().await?, &reply.paid()).await
    }
}

#[derive(Debug, Clone)]
struct Ends {
    db: Pool,
    per_user: i64,
}

impl Committer for Ends {
    type Write = Arc<Ending>;
    type Done = Option<Ended>;

    /// A user's plans replace each other.
    fn turn(ending: &Arc<Ending>) -> Uuid {
        ending.user_id
    }

    async fn together(&self, endings: &[&Arc<Ending>]) -> Result<Vec<Option<Self::Done>>, DbError> {
        let ends: Vec<_> = endings.iter().map(|ending| ending.end()).collect();
        let mut client = self.db.get().await?;
        let outcomes = jobs::succeed_together(&mut client, &ends, self.per_user).await?;
        let done = |outcome: EndOutcome| match outcome {
            EndOutcome::Ended(ended) => Some(Some(ended)),
            EndOutcome::Stale => Some(None),
            EndOutcome::NoProfile => None,
        };
        Ok(outcomes.into_iter().map(|outcome| outcome.and_then(done)).collect())
    }

    async fn alone(&self, ending: &Arc<Ending>) -> Result<Self::Done, DbError> {
        let mut client = self.db.get().await?;
        match jobs::succeed_alone(&mut client, &ending.end(), self.per_user).await? {
            EndOutcome::Ended(ended) => return Ok(Some(ended)),
            EndOutcome::Stale => return Ok(None),
            EndOutcome::NoProfile => {}
        }
        // The account was deleted meanwhile: no user can read the plan.
        let (tx, job_id) = (client.transaction(), ending.held.id);
        let outcome = jobs::cancel(&tx, job_id, Canceller::AccountDeletion, self.per_user).await?;
        tx.commit().await?;
        Ok(match outcome {
            CancelOutcome::Cancelled { seq, next } => {
                Some(Ended { job_id, kind: JobEventKind::Cancelled, seq, next })
            }
            CancelOutcome::Ended(_) | CancelOutcome::Missing => None,
        })
    }
}
