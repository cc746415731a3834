//! Find, mask, list and count identifiers in text against network maps.
