//! The attack table: each row one attack with the answer it must get. None
//! passes, none makes a 500, and none makes honest requests wait for long.

mod bodies;
mod crowds;
mod heads;
mod honest;
mod identity;
mod keys;
mod logs;
mod wire;
