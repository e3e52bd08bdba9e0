//! Sends callbacks to callers' own servers. A caller chooses the address and we
//! are inside our network: see `resolver` for what is called at all.

pub mod config;
mod resolver;
mod sender;

pub use config::WebhookConfig;
pub use resolver::{Lookup, PublicResolver, SystemLookup};
pub use sender::{DeliveryError, WebhookSender};
