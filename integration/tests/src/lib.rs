//! End-to-end tests of Polybus.
