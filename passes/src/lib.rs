//! Rewrites, fusion, layout, scheduling and memory planning of the Rectify compiler
