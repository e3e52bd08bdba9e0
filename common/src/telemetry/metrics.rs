//! The recorder of metrics and the buckets of its histograms.

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Latencies from a tenth of a millisecond to five minutes, in seconds.
const SECONDS_BUCKETS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];

/// Installs the recorder of this process; the handle renders what it holds.
pub(super) fn install(service: &'static str) -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS_BUCKETS)?
        .install_recorder()?;
    ::metrics::gauge!("regimen_build_info", "service" => service, "version" => env!("CARGO_PKG_VERSION"))
        .set(1.0);
    Ok(handle)
}
