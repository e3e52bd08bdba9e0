//! The app of the replaced service as it calls us: its bodies, its order, its
//! rows, read back the way it reads them.

mod plan_status;
mod quizzes;
