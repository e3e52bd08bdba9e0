//! Root certificates that TLS trusts in addition to the system's.

/// Mozilla's roots, for images that have none.
pub fn public_roots() -> impl Iterator<Item = reqwest::Certificate> {
    let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
    roots.filter_map(|root| reqwest::Certificate::from_der(root).ok())
}
