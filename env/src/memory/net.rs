//! An in-memory network for tests.
