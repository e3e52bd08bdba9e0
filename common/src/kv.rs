//! The connection to Redis: single, Sentinel or Cluster behind one small type.
