//! Rectify: a graph compiler for rectifier neural networks.
