//! SQL of the app's meal and workout plans.
