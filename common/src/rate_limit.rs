//! Per-user rate limits: GCRA in one Lua call, with an in-process fallback.
