//! Tile IR, kernel generators and the Cranelift JIT of the Rectify compiler
