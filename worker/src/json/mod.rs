//! JSON from hosts and models, read leniently: what has one meaning only
//! is taken, what is ambiguous is refused.

mod lenient;
mod object;

pub use lenient::{Unambiguous, document, documents, joined};
pub use object::{NoObject, only_object};
