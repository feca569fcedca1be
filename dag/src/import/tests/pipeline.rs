//! Large files: the pipeline makes what the calling thread alone makes, whatever goes wrong beside it.
