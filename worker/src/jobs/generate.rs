//! Generates one plan: prompt, provider, verification, save.
