//! Graph IR, model language, reference interpreter and plan of the Rectify compiler
