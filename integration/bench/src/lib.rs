//! Side-by-side benchmarks of Polybus.
