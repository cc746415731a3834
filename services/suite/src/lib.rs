//! The PRISEM services as Polybus workers.
