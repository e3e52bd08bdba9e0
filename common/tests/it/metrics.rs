//! What the common crate counts stands in its table of metrics.

use std::path::Path;

use regimen_common::telemetry::metrics::COMMON;
use regimen_common::test_support::metrics::assert_counted_as_declared;

#[test]
fn all_that_is_counted_is_declared_and_all_that_is_declared_is_counted() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    assert_counted_as_declared(&src, COMMON, &[COMMON]);
}
