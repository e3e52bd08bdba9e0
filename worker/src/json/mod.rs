//! JSON from hosts and models, parsed leniently: unambiguous deviations are
//! accepted, ambiguous ones refused.

mod lenient;
mod object;

pub use lenient::{document, documents, joined};
pub use object::{NoObject, only_object};
