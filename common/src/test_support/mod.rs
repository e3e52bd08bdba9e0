//! What every test suite needs: a database and a Redis prefix per test, real processes.
