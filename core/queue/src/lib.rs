//! The queue engine of Polybus: a pure state machine without clock or I/O.
