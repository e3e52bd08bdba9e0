//! Nutrition targets of a person: energy, macros, time to goal. Pure.
