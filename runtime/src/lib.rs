//! Parameters, arena, thread pool and sessions of the Rectify compiler
