//! The binary and its library.
