//! The life of jobs: the rules, the SQL that follows them, whose turn it is,
//! and what it all costs with much waiting.

mod agreement;
mod cost;
mod depth;
mod life;
mod lists;
mod loss;
mod pauses;
mod poison;
mod protocol;
mod rules;
mod shapes;
pub(crate) mod shared;
mod spending;
mod stats;
mod together;
mod turns;
