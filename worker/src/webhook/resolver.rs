//! Resolves names for callbacks, and returns only addresses that may be called.
//! The connection goes to exactly the checked address: the name is not resolved
//! a second time, so an answer that changes between two look-ups (DNS
//! rebinding) has no effect.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use regimen_common::callbacks::{AddressRefused, Rules};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Looks up the addresses of a name.
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of `name`.
    fn lookup(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The system's resolver: its hosts file, then its name servers.
#[derive(Debug, Clone, Copy)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Why a name has no address to call.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    /// It is unknown, or no name server answered.
    #[error("the host name cannot be resolved: {0}")]
    Unknown(#[from] io::Error),
    /// It has an internal address.
    #[error("the host name does not resolve to public addresses")]
    NotPublic(#[source] AddressRefused),
}

/// Resolves names to addresses that may be called.
pub struct PublicResolver {
    rules: Arc<Rules>,
    lookup: Arc<dyn Lookup>,
}

impl fmt::Debug for PublicResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicResolver").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl PublicResolver {
    /// Looks names up with `lookup` and checks the answers with `rules`.
    pub fn new(rules: Arc<Rules>, lookup: Arc<dyn Lookup>) -> Self {
        Self { rules, lookup }
    }
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (rules, name) = (Arc::clone(&self.rules), name.as_str().to_owned());
        let found = self.lookup.lookup(name);
        Box::pin(async move {
            let addresses = public(&rules, found.await)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// One internal address refuses the name: a legitimate name has none, and the HTTP client
/// chooses the address.
fn public(rules: &Rules, found: io::Result<Vec<IpAddr>>) -> Result<Vec<SocketAddr>, ResolveError> {
    let found = found?;
    for &address in &found {
        rules.check_address(address).map_err(ResolveError::NotPublic)?;
    }
    if found.is_empty() {
        return Err(io::Error::from(io::ErrorKind::AddrNotAvailable).into());
    }
    // Port 0 means the URL's own.
    Ok(found.into_iter().map(|address| SocketAddr::new(address, 0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(addresses: &[&str]) -> io::Result<Vec<IpAddr>> {
        Ok(addresses.iter().map(|address| address.parse().unwrap()).collect())
    }

    #[test]
    fn public_addresses_are_given_out_as_they_are() {
        let found = public(&Rules::default(), answer(&["1.1.1.1", "2606:4700::1"])).unwrap();
        assert_eq!(found, ["1.1.1.1:0".parse().unwrap(), "[2606:4700::1]:0".parse().unwrap()]);
    }

    #[test]
    fn one_address_inside_refuses_the_name() {
        for addresses in [&["127.0.0.1"][..], &["1.1.1.1", "10.0.0.1"], &["::ffff:169.254.169.254"]]
        {
            let refused = public(&Rules::default(), answer(addresses));
            assert!(matches!(refused, Err(ResolveError::NotPublic(_))), "{addresses:?}");
        }
    }

    #[test]
    fn a_name_without_addresses_is_unknown() {
        let refused = public(&Rules::default(), answer(&[]));
        assert!(matches!(refused, Err(ResolveError::Unknown(_))));
    }
}
