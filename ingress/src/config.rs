//! Settings of the ingress.
