//! The embedded bus: the queue engine in this process.
