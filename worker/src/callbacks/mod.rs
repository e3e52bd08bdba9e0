//! Sends what is owed to callers' own servers. A caller chooses the address
//! and we are inside our network: see `resolver` for what is called at all.

pub mod config;
mod courier;
pub mod feed;
mod resolver;

pub use config::CallbackSettings;
pub use courier::{Courier, DeliveryError};
pub use resolver::{Lookup, PublicResolver, SystemLookup};
