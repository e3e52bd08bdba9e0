//! The input of a job, read from its row.

use std::sync::OnceLock;

use regimen_common::db::jobs::ClaimedJob;
use regimen_common::food::{Learnt, Unread, still_unread, unread};
use regimen_common::job::{FailureCode, PlanKind};
use regimen_common::nutrition::Nutrition;
use regimen_common::quiz::Quiz;
use regimen_common::safety::{Code, unread_injuries};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::jobs::plan::error::JobError;
use crate::plan::Needs;
use crate::prompts;

/// The input that the ingress stores with a job.
#[derive(Debug, Deserialize)]
pub struct Input {
    /// The quiz as [`Quiz`] serialises it.
    quiz: Option<Value>,
    /// The quiz as it was sent: in jobs of ingresses before this release.
    answers: Option<Value>,
    /// The targets computed at the submission.
    pub nutrition: Nutrition,
    /// The safe targets; absent in jobs of ingresses before they existed.
    targets: Option<Nutrition>,
    /// The cautions shown to the person.
    #[serde(default)]
    pub cautions: Vec<Value>,
    /// What an earlier round learnt of words that no table knows.
    pub learnt: Option<Vec<Learnt>>,
    /// The provider that the user requests.
    pub provider: Option<String>,
    /// The model that the user requests.
    pub model: Option<String>,
}

/// The input of one job, parsed.
#[derive(Debug)]
pub struct Order {
    /// The job.
    pub job: Uuid,
    /// Which plan.
    pub kind: PlanKind,
    /// Its input.
    pub input: Input,
    /// The person's answers.
    pub quiz: Quiz,
    prompt_bytes: usize,
    needs: OnceLock<Needs>,
}

impl Order {
    /// Parses the input of the job's row.
    ///
    /// # Errors
    /// It is not what the ingress writes: the job fails finally.
    pub fn read(claimed: &ClaimedJob) -> Result<Self, JobError> {
        let unreadable = |what: String| {
            JobError::fail(
                FailureCode::Internal,
                format!("the stored request cannot be read: {what}"),
            )
        };
        let mut input: Input = serde_json::from_str(claimed.input.get())
            .map_err(|error| unreadable(error.to_string()))?;
        // Taken out, because it would last as long as the provider's call.
        let (quiz, texts) = match (input.quiz.take(), input.answers.take()) {
            (Some(quiz), _) => (Quiz::deserialize(&quiz).map_err(|e| e.to_string()), quiz),
            (None, Some(answers)) => (Quiz::read(&answers).map_err(|e| e.to_string()), answers),
            (None, None) => return Err(unreadable("it has no quiz".to_owned())),
        };
        let prompt_bytes = prompts::most_bytes(&texts);
        let quiz = quiz.map_err(unreadable)?;
        let (job, kind, needs) = (claimed.id, claimed.kind, OnceLock::new());
        Ok(Self { job, kind, input, quiz, prompt_bytes, needs })
    }

    /// What a plan for this person must satisfy, computed once.
    pub fn needs(&self) -> &Needs {
        self.needs.get_or_init(|| {
            let told = self.input.cautions.iter();
            // An unknown code of a newer ingress requires nothing here.
            let codes = told.filter_map(|caution| Code::deserialize(&caution["code"]).ok());
            Needs::of(&self.quiz, self.targets()).knowing(self.learnt()).cautious(codes.collect())
        })
    }

    /// What is known of words that no table knows.
    pub fn learnt(&self) -> &[Learnt] {
        self.input.learnt.as_deref().unwrap_or_default()
    }

    /// What of the person's answers about food and injuries nobody understood.
    pub fn unread(&self) -> Vec<Unread> {
        let mut unread = still_unread(unread(&self.quiz), self.learnt());
        unread.extend(unread_injuries(&self.quiz));
        unread
    }

    /// The targets the plan is built for.
    pub fn targets(&self) -> &Nutrition {
        self.input.targets.as_ref().unwrap_or(&self.input.nutrition)
    }

    /// The texts of the prompt.
    pub fn prompt(&self) -> prompts::PromptTexts {
        prompts::build(self.kind, &self.quiz, self.targets(), self.needs(), self.job)
    }

    /// An upper bound of the size of those texts, bytes.
    pub fn prompt_bytes(&self) -> usize {
        // Of each of a few words at most a few keys and foods stand in the targets.
        let learnt = self.learnt().iter().flat_map(|one| one.keys.iter().chain(&one.foods));
        self.prompt_bytes + learnt.map(|name| 4 * name.len() + 40).sum::<usize>()
    }
}
