//! The attack table: each row one attack with the answer it must get. None
//! passes, and none makes a 500.

mod bodies;
mod console;
mod crowds;
mod heads;
mod honest;
mod identity;
mod keys;
mod logs;
mod probes;
mod wire;
