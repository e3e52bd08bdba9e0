//! How a job ends when it does not succeed: retry later or fail for good.
