//! Black-box tests of the ingress.
