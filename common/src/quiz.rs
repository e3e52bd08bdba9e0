//! The quiz as clients send it, read leniently and validated by JSON pointer.
