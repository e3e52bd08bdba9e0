//! Sends callbacks to clients' servers. A client chooses the address and the
//! worker is inside our network: `resolver` decides which addresses may be
//! called.

pub mod config;
mod resolver;
mod sender;

pub use config::WebhookConfig;
pub use resolver::{Lookup, PublicResolver, SystemLookup};
pub use sender::{DeliveryError, WebhookSender};
