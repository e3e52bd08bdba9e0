//! Liveness, readiness and the legacy health answer.
